"""What a training does, apart from its data and its model."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression"]
Unit = Literal["epoch", "step"]


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """The optimizer; ``momentum`` belongs to sgd and rmsprop."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How the learning rate changes from epoch to epoch."""

    name: Literal["none", "step", "cosine", "plateau"] = "none"
    every_epochs: int = 10
    factor: float = 0.5
    patience: int = 3
    minimum: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that decides how the weights change."""

    task: Task = "classification"
    epochs: int = 10
    batch_size: int = 256
    accumulation: int = 1
    gradient_clip: float | None = None
    seed: int = 0
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    patience: int | None = None
    """Epochs without improvement after which the training ends early; None: never."""
    minimum_improvement: float = 0.0
    unit: Unit = "epoch"
    threads: int = 1
    deterministic: bool = True
    """Refuse operations whose result varies from run to run."""
