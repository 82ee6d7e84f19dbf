"""Random draws that follow from a key alone: no state to save, equal in whatever order or batch they are
asked for.

Counter-based: draw ``i`` of a key is the finalizer of SplitMix64 over ``key + i * golden ratio`` (Steele, Lea
and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014; constants are Stafford's variant 13).
Good enough for augmentation, not for secrets.
"""

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_UNIFORM_BITS = 24
"""Of a float32's significand."""


def sample_keys(seed: int, epoch: int, samples: Tensor) -> Tensor:
    """Return one key (int64) for each sample number of an epoch."""
    base = torch.tensor([_signed(seed)])
    base = _mixed(_mixed(base) + epoch)
    return _mixed(base + samples * _signed(_GOLDEN))


def uniform(keys: Tensor, count: int, purpose: int = 0) -> Tensor:
    """Return float32 draws from [0, 1), ``count`` for each key; other ones for each ``purpose`` (a number)."""
    return _bits(keys, count, purpose).to(torch.float32) * 2.0**-_UNIFORM_BITS


def normal(keys: Tensor, count: int, purpose: int = 0) -> Tensor:
    """Return float32 draws of mean 0 and deviation 1, ``count`` for each key (Box and Muller, 1958)."""
    bits = _bits(keys, 2 * count, purpose).to(torch.float64)
    radius = (-2.0 * torch.log((bits[:, :count] + 1) * 2.0**-_UNIFORM_BITS)).sqrt()
    return (radius * torch.cos(2 * math.pi * bits[:, count:] * 2.0**-_UNIFORM_BITS)).to(torch.float32)


def _bits(keys: Tensor, count: int, purpose: int) -> Tensor:
    first = _mixed(keys ^ _mixed(torch.tensor([purpose])))
    counters = torch.arange(1, count + 1) * _signed(_GOLDEN)
    return _shifted(_mixed(first.unsqueeze(1) + counters), 64 - _UNIFORM_BITS)


def _mixed(value: Tensor) -> Tensor:
    value = (value ^ _shifted(value, 30)) * _signed(_FIRST)
    value = (value ^ _shifted(value, 27)) * _signed(_SECOND)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as for an unsigned number."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """Return the int64 with the same bits."""
    return (value & (2**64 - 1)) - ((value & 2**63) << 1)
