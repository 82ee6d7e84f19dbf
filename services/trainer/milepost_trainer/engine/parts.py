"""What a training is made of: a task builds it from a spec, the engine trains it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) of a batch to the mean loss over its samples, a scalar."""
Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) of a batch to the mean figure over its samples, a scalar."""
Augment: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(inputs of a batch, one int64 key for each sample) to changed inputs.

A key follows from (seed, epoch, sample) alone, so what is drawn from it needs no state and does not depend on
the order or the size of batches; see ``keyed_random``.
"""
OptimizerBuilder: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class TrainingData(Protocol):
    """Samples in three parts, by number; the engine decides which of them when."""

    def count(self, part: Part) -> int:
        """Return how many samples a part has; test may have none, the others need some."""
        ...

    def batch(self, part: Part, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, first dimension ``len(samples)``, of these samples (int64) of a part.

        The same numbers give the same bits, whenever and in whatever company they are asked for.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrainingParts:
    """Model, data, loss and metrics; weights are initialised by whoever built it, from the seed."""

    model: nn.Module
    data: TrainingData
    loss: Loss
    metrics: Mapping[str, Metric] = field(default_factory=dict[str, Metric])
    """By name; each becomes ``validation_<name>`` in the history and ``<name>`` in the final figures."""
    augment: Augment | None = None
    """Applied to training batches only."""
    build_optimizer: OptimizerBuilder | None = None
    """A task's own optimizer; None: the one of the settings."""
