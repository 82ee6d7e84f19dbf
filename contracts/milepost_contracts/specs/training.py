"""Spec of a training: the data, the task that builds what is trained, and the loop around it."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from milepost_contracts.datasets import DatasetReference
from milepost_contracts.model import ContractModel, JsonObject

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class TaskSpec(ContractModel):
    """What is trained: a task that a worker has announced, and its parameters."""

    name: TaskName = "bars"
    parameters: JsonObject = {}
    """Checked against the task's own schema; of ``bars`` see ``BarsTaskParameters``."""


class OptimizerSpec(ContractModel):
    """The optimizer and its learning rate."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Of sgd and rmsprop."""

    @model_validator(mode="after")
    def _momentum_is_used(self) -> Self:
        if self.momentum and self.name in ("adam", "adamw"):
            raise ValueError(f"{self.name} has no momentum to set; leave it out")
        return self


class SchedulerSpec(ContractModel):
    """How the learning rate changes."""

    name: Literal["none", "step", "cosine", "plateau", "one-cycle"] = "none"
    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """step: epochs between two cuts."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """step and plateau: what the learning rate is multiplied by at a cut."""
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """plateau: epochs without improvement that pass before a cut."""
    minimum: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The learning rate never goes below this."""


class EarlyStoppingSpec(ContractModel):
    """End when the validation loss has not improved for some epochs."""

    patience: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    minimum_improvement: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """A smaller decrease of the validation loss is none; also for what counts as the best model."""


class AveragingSpec(ContractModel):
    """Keep an exponential moving average of the weights; it is what is validated, kept as best and saved."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Of each optimizer step: average = decay * average + (1 - decay) * weights."""


class TrainingCheckpointSpec(ContractModel):
    """What checkpoints, progress and ``stop_at_unit`` count."""

    unit: Literal["epoch", "step"] = "epoch"
    """Epochs, or optimizer steps."""


class TrainingSpec(ContractModel):
    """One training."""

    data: DatasetReference | Annotated[tuple[DatasetReference, ...], Field(max_length=64)] = ()
    """One dataset, or one for each symbol; a task that brings its own data needs none."""
    task: TaskSpec = TaskSpec()
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    accumulation: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Micro-batches whose gradients are added up for one optimizer step."""
    optimizer: OptimizerSpec = OptimizerSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    early_stopping: EarlyStoppingSpec | None = None
    gradient_clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest norm of all gradients together."""
    averaging: AveragingSpec | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What forward and backward passes compute in; weights stay float32. float16 scales the loss."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: a GPU when the worker has one."""
    compile: bool = False
    """Compile the model with ``torch.compile``; slow to begin, faster then for large models."""
    deterministic: bool = True
    """Refuse operations whose result varies from run to run; without it a resumed run may differ in bits."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    checkpoint: TrainingCheckpointSpec = TrainingCheckpointSpec()
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads that compute; more pay off for large models only."""

    @property
    def datasets(self) -> tuple[DatasetReference, ...]:
        """The datasets, one or many."""
        return (self.data,) if isinstance(self.data, DatasetReference) else self.data
