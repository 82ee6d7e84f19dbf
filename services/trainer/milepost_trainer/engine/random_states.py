"""The process's random states: torch's, the device's, Python's and NumPy's global ones.

A task's model, loss or augmentation may draw from any of them. A generator object of a task's own is not
among them: draw from ``keyed_random`` instead, which needs no state.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from milepost_trainer.engine.order import generator_for
from milepost_trainer.engine.quick_twister import global_state, unfolded

_WORDS = 624
"""Of a Mersenne Twister, which both Python and NumPy have."""


@dataclass(frozen=True, slots=True, eq=False)
class RandomStates:
    """All of them at one moment, in the form their owners have."""

    torch: Tensor
    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    device: Tensor | None
    """Of the first CUDA or MPS device when the training is there; None on a CPU."""

    @staticmethod
    def seeded(seed: int, device: str) -> "RandomStates":
        """Return the states that a training begins with; they follow from its seed."""
        draws = torch.randint(2**32, (3,), generator=generator_for(seed, "other random states"))
        python, numpy, other = (int(value) for value in draws)
        on_device = None if device == "cpu" else torch.Generator(device).manual_seed(other).get_state()
        return RandomStates(
            generator_for(seed, "training").get_state(),
            random.Random(python).getstate(),  # noqa: S311 - simulated randomness, no secrets
            tuple(np.random.RandomState(numpy).get_state(legacy=True)),
            on_device,
        )

    @staticmethod
    def of_process(device: str) -> "RandomStates":
        """Return copies of what the process has now."""
        on_device = None if device == "cpu" else _device_state(device)
        return RandomStates(torch.get_rng_state(), random.getstate(), global_state(), on_device)

    def put_back(self, device: str) -> None:
        """Give them to the process."""
        torch.set_rng_state(self.torch)
        random.setstate(self.python)
        np.random.set_state(unfolded(self.numpy))
        if self.device is not None:
            _set_device_state(device, self.device)

    def tensors(self, device: str) -> dict[str, Tensor]:
        """Return them as tensors by name, copied."""
        _, words, gauss = self.python
        _, keys, place, has_gauss, cached = unfolded(self.numpy)
        found = {
            "torch": self.torch.clone(),
            "python": _twister(words[:_WORDS], words[_WORDS], gauss),
            "numpy": _twister(keys, place, cached if has_gauss else None),
        }
        return found if self.device is None else {**found, device: self.device.clone()}

    def changed(self, tensors: Mapping[str, Tensor], device: str) -> "RandomStates":
        """Return the states that ``tensors`` gave; one of another device is left alone."""
        words, place, gauss = _of_twister(tensors["python"])
        keys, numpy_place, cached = _of_twister(tensors["numpy"])
        numpy = (
            "MT19937",
            np.array(keys, dtype=np.uint32),
            numpy_place,
            int(cached is not None),
            cached or 0.0,
        )
        on_device = tensors[device].clone() if device in tensors else self.device
        return RandomStates(tensors["torch"].clone(), (3, (*words, place), gauss), numpy, on_device)


def _twister(words: Any, place: int, gauss: float | None) -> Tensor:
    """The words, the place in them, whether half a pair of normal draws is left, and its bits."""
    numbers = np.empty(_WORDS + 3, dtype=np.int64)
    numbers[:_WORDS] = words
    numbers[_WORDS], numbers[_WORDS + 1] = place, gauss is not None
    numbers[-1:] = np.array([gauss or 0.0], dtype=np.float64).view(np.int64)
    return torch.from_numpy(numbers)


def _of_twister(state: Tensor) -> tuple[list[int], int, float | None]:
    numbers = cast("list[int]", state.tolist())
    gauss = float(state[-1:].view(torch.float64)) if numbers[_WORDS + 1] else None
    return numbers[:_WORDS], numbers[_WORDS], gauss


def _device_state(device: str) -> Tensor | None:
    match device:
        case "cuda":
            return torch.cuda.get_rng_state()
        case "mps":
            return torch.mps.get_rng_state()
        case _:
            return None


def _set_device_state(device: str, state: Tensor) -> None:
    match device:
        case "cuda":
            torch.cuda.set_rng_state(state)
        case "mps":
            torch.mps.set_rng_state(state)
        case _:
            raise ValueError(device)
