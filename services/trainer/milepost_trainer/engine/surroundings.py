"""What a process has only once, set for the time of a training step and put back after it.

Random states, torch's threads and its determinism. ``entered`` may be entered again inside itself at no cost,
so a host that does nothing else in its process enters once for the whole run.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from milepost_trainer.engine.quick_twister import exchange_generator, quick_twister
from milepost_trainer.engine.random_states import RandomStates

# Its one setting is a property of the module, which type checkers cannot see.
_deterministic: Any = torch.utils.deterministic


class Surroundings:
    """Random states, threads and determinism of one training; others in the process see none of it."""

    def __init__(self, *, seed: int, threads: int, deterministic: bool, device: str = "cpu") -> None:
        self._states = RandomStates.seeded(seed, device)
        self._threads = threads
        self._deterministic = deterministic
        self._device = device
        self._inside = False

    def random_tensors(self) -> dict[str, Tensor]:
        """Return copies of the training's random states, by name."""
        return self._present().tensors(self._device)

    def random_states(self) -> Callable[[], dict[str, Tensor]]:
        """Return what gives the random states of this moment as tensors, by name, whenever it is called."""
        return partial(self._present().tensors, self._device)

    def load_random_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``random_tensors`` gave; that of a device may be missing, or is of another one."""
        self._states = self._present().changed(tensors, self._device)
        if self._inside:
            self._states.put_back(self._device)

    @contextmanager
    def entered(self) -> Generator[None]:
        """Compute as this training does."""
        if self._inside:
            yield
            return
        outer, outer_threads = RandomStates.of_process(self._device), torch.get_num_threads()
        outer_deterministic = torch.are_deterministic_algorithms_enabled()
        outer_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        outer_fill = _deterministic.fill_uninitialized_memory
        outer_generator = exchange_generator(quick_twister())
        self._states.put_back(self._device)
        torch.set_num_threads(self._threads)
        torch.use_deterministic_algorithms(self._deterministic)
        # Would fill every new tensor first, for operations that read what nobody wrote; none here does.
        _deterministic.fill_uninitialized_memory = False
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            self._states = RandomStates.of_process(self._device)
            exchange_generator(outer_generator)
            outer.put_back(self._device)
            torch.set_num_threads(outer_threads)
            torch.use_deterministic_algorithms(outer_deterministic, warn_only=outer_warn_only)
            _deterministic.fill_uninitialized_memory = outer_fill

    def _present(self) -> RandomStates:
        return RandomStates.of_process(self._device) if self._inside else self._states
