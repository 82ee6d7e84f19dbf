"""What torch keeps for the whole process, set for the time of a training step and put back after it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from milepost_trainer.engine.order import generator_for

# Its one setting is a property of the module, which type checkers cannot see.
_deterministic: Any = torch.utils.deterministic


class Surroundings:
    """Random state, threads and determinism of one training; others in the process see none of it."""

    def __init__(self, *, seed: int, threads: int, deterministic: bool) -> None:
        self._random = generator_for(seed, "training").get_state()
        self._threads = threads
        self._deterministic = deterministic

    @property
    def random_state(self) -> Tensor:
        """The state of torch's generator as the training has it (dropout draws from it); not copied."""
        return self._random

    @random_state.setter
    def random_state(self, state: Tensor) -> None:
        self._random = state.detach().clone()

    @contextmanager
    def entered(self) -> Generator[None]:
        """Compute as this training does."""
        outer_random, outer_threads = torch.get_rng_state(), torch.get_num_threads()
        outer_deterministic = torch.are_deterministic_algorithms_enabled()
        outer_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        outer_fill = _deterministic.fill_uninitialized_memory
        torch.set_rng_state(self._random)
        torch.set_num_threads(self._threads)
        torch.use_deterministic_algorithms(self._deterministic)
        # Would fill every new tensor first, for operations that read what nobody wrote; none here does.
        _deterministic.fill_uninitialized_memory = False
        try:
            yield
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(outer_random)
            torch.set_num_threads(outer_threads)
            torch.use_deterministic_algorithms(outer_deterministic, warn_only=outer_warn_only)
            _deterministic.fill_uninitialized_memory = outer_fill
