"""The stateless order in which a training sees its samples, and generators that follow from the seed."""

import hashlib

import torch
from torch import Tensor


def permutation(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of an epoch's samples: it follows from its arguments alone, so it needs no state."""
    return torch.randperm(count, generator=generator_for(seed, f"order {epoch}"))


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a generator of its own for each purpose under one seed."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
