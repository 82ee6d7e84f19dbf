"""Spec of a training: the data, the task that builds what is trained, and the loop around it.

What does not fit together is named at the field that should change, so checks across fields are validators of
fields: those run beside all the others, and one refusal names everything.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, ValidationInfo, field_validator

from milepost_contracts.datasets import DatasetReference
from milepost_contracts.model import ContractModel, JsonObject

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Datasets = Annotated[tuple[DatasetReference, ...], Field(max_length=64)]

BUILT_IN_TASK = "bars"


class TaskSpec(ContractModel):
    """What is trained: a task that a worker has announced, and its parameters."""

    name: TaskName = BUILT_IN_TASK
    """A name under the entry point group ``milepost.training_tasks``."""
    parameters: JsonObject = {}
    """Checked against the task's own schema; of ``bars`` see ``BarsTaskParameters``."""


class OptimizerSpec(ContractModel):
    """The optimizer, as torch.optim has it; a task may bring its own, which then decides instead."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    """Adam, Adam with decoupled weight decay, stochastic gradient descent, or RMSprop."""
    learning_rate: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = 1e-3
    """Before the scheduler; the peak of a one-cycle schedule."""
    weight_decay: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Pull of all weights towards zero: added to the gradients, with adamw taken off the weights themselves."""
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Of sgd and rmsprop: share of the last step that goes on."""

    @field_validator("momentum")
    @classmethod
    def _momentum_is_used(cls, momentum: float, info: ValidationInfo) -> float:
        name = info.data.get("name")
        if momentum and name in ("adam", "adamw"):
            raise ValueError(f"{name} has no momentum to set; leave it out")
        return momentum


SCHEDULER_FIELDS = {
    "none": (),
    "step": ("every_epochs", "factor", "minimum"),
    "cosine": ("minimum",),
    "plateau": ("factor", "patience", "minimum"),
    "one-cycle": ("warmup_share", "start_factor", "end_factor"),
}
"""The fields that each schedule reads."""


class SchedulerSpec(ContractModel):
    """How the learning rate changes: every epoch, and with one-cycle every optimizer step."""

    name: Literal["none", "step", "cosine", "plateau", "one-cycle"] = "none"
    """none: it stays. step: cut every so many epochs. cosine: down in half a cosine over all epochs. plateau: cut
    when the validation loss no longer improves. one-cycle: up to the learning rate, then down, in half cosines
    over all optimizer steps (torch: OneCycleLR)."""
    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """step: epochs between two cuts (torch: step_size)."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """step and plateau: what the learning rate is multiplied by at a cut (torch: gamma, factor)."""
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """plateau: epochs without improvement that pass before a cut."""
    minimum: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """step, cosine and plateau: the learning rate never goes below this (torch: eta_min, min_lr)."""
    warmup_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """one-cycle: share of all steps in which the learning rate rises (torch: pct_start)."""
    start_factor: Annotated[float, Field(ge=1, le=1e12, allow_inf_nan=False)] = 25.0
    """one-cycle: begins at the learning rate divided by this (torch: div_factor)."""
    end_factor: Annotated[float, Field(ge=1, le=1e12, allow_inf_nan=False)] = 1e4
    """one-cycle: ends at the beginning's rate divided by this (torch: final_div_factor)."""

    @field_validator(
        "every_epochs", "factor", "patience", "minimum", "warmup_share", "start_factor", "end_factor"
    )
    @classmethod
    def _field_is_used(cls, value: float, info: ValidationInfo) -> float:
        """A setting without effect is a mistake; the default may stand, since resolved specs hold every field."""
        scheduler, field = info.data.get("name"), str(info.field_name)
        if scheduler is None or field in SCHEDULER_FIELDS[scheduler] or value == _default(cls, field):
            return value
        owners = ", ".join(name for name, fields in SCHEDULER_FIELDS.items() if field in fields)
        raise ValueError(f"belongs to {owners}, not to {scheduler}; leave it out")


class EarlyStoppingSpec(ContractModel):
    """End when the validation loss has not improved for some epochs."""

    patience: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Epochs without improvement after which the training ends."""
    minimum_improvement: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """A smaller decrease of the validation loss is none; also for what counts as the best model."""


class AveragingSpec(ContractModel):
    """Keep an exponential moving average of the weights; it is what is validated, kept as best and saved."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that stays at each optimizer step: average = decay * average + (1 - decay) * weights.
    Smaller at the beginning, so that the first weights are soon forgotten: min(decay, (1 + n) / (10 + n)) after
    n steps."""


class TrainingCheckpointSpec(ContractModel):
    """What checkpoints, progress and ``stop_at_unit`` count."""

    unit: Literal["epoch", "step"] = "epoch"
    """Epochs, or optimizer steps."""


def _one_or_many(value: Any) -> Literal["one", "many"]:
    return "many" if isinstance(value, list | tuple) else "one"


class TrainingSpec(ContractModel):
    """One training."""

    task: TaskSpec = TaskSpec()
    """What is trained."""
    data: Annotated[
        Annotated[DatasetReference, Tag("one")] | Annotated[Datasets, Tag("many")],
        Discriminator(_one_or_many),
        Field(validate_default=True),
    ] = ()
    """One dataset, or a list of them, one for each symbol; a task that brings its own data needs none."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Passes over the training part, at most: see ``early_stopping``."""
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    """Samples in a micro-batch; a last one of a single sample is left out: batch normalization needs two."""
    accumulation: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Micro-batches whose gradients are added up for one optimizer step."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """What changes the weights."""
    scheduler: SchedulerSpec = SchedulerSpec()
    """How the learning rate changes."""
    early_stopping: EarlyStoppingSpec | None = None
    """When to end before the last epoch; absent: never."""
    gradient_clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest norm of all gradients together; absent: no limit."""
    averaging: AveragingSpec | None = None
    """A moving average of the weights; absent: the weights themselves are validated and saved."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What forward and backward passes compute in; weights stay float32. float16 scales the loss."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: a GPU when the worker has one. cuda: NVIDIA's or AMD's. mps: Apple's."""
    compile: bool = False
    """Compile the model with ``torch.compile``; slow to begin, faster then for large models."""
    deterministic: bool = True
    """Refuse operations whose result varies from run to run; without it a resumed run may differ in bits."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides initial weights, the order of samples, dropout and augmentation."""
    checkpoint: TrainingCheckpointSpec = TrainingCheckpointSpec()
    """What a unit is; how often to save is an option of the command, not of the spec."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads that compute; more pay off for large models only."""

    @field_validator("data")
    @classmethod
    def _data_suits(
        cls, data: DatasetReference | tuple[DatasetReference, ...], info: ValidationInfo
    ) -> DatasetReference | tuple[DatasetReference, ...]:
        if isinstance(data, DatasetReference):
            return data
        task = info.data.get("task")
        if not data and task is not None and task.name == BUILT_IN_TASK:
            raise ValueError(f"the task {BUILT_IN_TASK} needs a dataset, or a list of them")
        twice = sorted({str(each.name or each.digest) for each in data if data.count(each) > 1})
        if twice:
            raise ValueError(f"given more than once: {', '.join(twice)}")
        return data

    @field_validator("scheduler")
    @classmethod
    def _minimum_is_below(cls, scheduler: SchedulerSpec, info: ValidationInfo) -> SchedulerSpec:
        optimizer = info.data.get("optimizer")
        if optimizer is not None and scheduler.minimum > optimizer.learning_rate:
            raise ValueError(
                f"minimum ({scheduler.minimum}) is above the learning rate ({optimizer.learning_rate})"
            )
        return scheduler

    @property
    def datasets(self) -> tuple[DatasetReference, ...]:
        """The datasets, one or many."""
        return (self.data,) if isinstance(self.data, DatasetReference) else self.data


def _default(model: type[ContractModel], field: str) -> Any:
    return model.model_fields[field].default


_CHANGEABLE_FIELDS = (
    "epochs",
    "optimizer.learning_rate",
    "optimizer.weight_decay",
    *(f"scheduler.{name}" for name in SchedulerSpec.model_fields if name != "name"),
    "early_stopping",
    "gradient_clip",
    "threads",
    "device",
)
CHANGEABLE: dict[str, tuple[str, ...]] = {
    field: (f"spec.{field.partition('.')[0]}",) for field in _CHANGEABLE_FIELDS
}
"""What a fork may change (see ``KindDescription``): how it is learned from the next step on. Not what shapes the
saved state (the task, the optimizer's and the schedule's name, precision, averaging), nor what the place in an
epoch is counted in (batch size, accumulation, unit, seed, data)."""
