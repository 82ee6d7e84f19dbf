"""What a way of saving must offer to be measured, and the plain training loop that most of them live in."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from tests.benchmarks.peers.workload import (
    Size,
    build_model,
    build_optimizer,
    endless_batches,
    loss_of,
    tensors_of,
)


class Contender(ABC):
    """One training with one way of saving it; made, measured and thrown away.

    Everything it writes lies under ``directory``. Times are readings of ``time.perf_counter``.
    """

    name: ClassVar[str]
    remark: ClassVar[str] = ""
    """What a reader of the figures has to know."""

    def __init__(self, size: Size, directory: Path) -> None:
        self.size = size
        self.directory = directory

    @abstractmethod
    def step(self) -> float:
        """Do one optimizer step; return the seconds of it spent waiting for an earlier save."""

    @abstractmethod
    def save(self) -> float:
        """Save the present state; return the seconds for which the training stood still."""

    @abstractmethod
    def wait_durable(self) -> float:
        """Wait for the newest save; return when it was safe from a power cut."""

    @abstractmethod
    def newest(self) -> Path:
        """Return the file or directory of the newest save."""

    @abstractmethod
    def loading(self) -> Callable[[], dict[str, Tensor]]:
        """Return what loads the newest save into a fresh training and returns that one's tensors.

        The fresh training, of another seed, is made here and not in what is returned.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the present state, not copied."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of threads and memory."""


class LoopContender(Contender):
    """A bare loop: forward, backward, step."""

    def __init__(self, size: Size, directory: Path) -> None:
        super().__init__(size, directory)
        self.model, self.optimizer = self.training(seed=1)
        self._batches = endless_batches(size)
        self._ordinal = 0

    def training(self, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a model with its optimizer."""
        model = build_model(self.size, seed)
        return model, build_optimizer(model)

    def step(self) -> float:
        inputs, targets = next(self._batches)
        loss = loss_of(self.model(inputs), targets)
        loss.item()  # every trainer looks at the loss
        loss.backward()
        waited_seconds = self.before_update()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return waited_seconds

    def before_update(self) -> float:
        """Wait until the weights may change; return the seconds that took."""
        return 0.0

    def next_path(self, suffix: str = "") -> Path:
        """Return where the next save goes; the one before is not overwritten."""
        self._ordinal += 1
        return self.directory / f"{self._ordinal:06d}{suffix}"

    def tensors(self) -> dict[str, Tensor]:
        return tensors_of(self.model, self.optimizer)
