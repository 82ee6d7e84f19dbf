"""What a training does, apart from its data and its model."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["epoch", "step"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """The optimizer; ``momentum`` belongs to sgd and rmsprop."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How the learning rate changes."""

    name: Literal["none", "step", "cosine", "plateau", "one-cycle"] = "none"
    every_epochs: int = 10
    factor: float = 0.5
    patience: int = 3
    minimum: float = 0.0
    warmup_share: float = 0.3
    """one-cycle: share of all optimizer steps in which the rate rises."""
    start_factor: float = 25.0
    """one-cycle: begins at the learning rate divided by this."""
    end_factor: float = 1e4
    """one-cycle: ends at its beginning divided by this."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that decides how the weights change."""

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
    averaging_decay: float | None = None
    """Of the exponential moving average of the weights; None: there is none."""
    precision: Precision = "float32"
    device: str = "cpu"
    """Resolved already: "cpu", "cuda" or "mps"."""
    compile: bool = False
    unit: Unit = "epoch"
    threads: int = 1
    deterministic: bool = True
    """Refuse operations whose result varies from run to run."""
