"""What a team writes to plug in a training of its own: a ``TrainingTask``.

Registered under the entry point group ``milepost.training_tasks``; a spec names it as
``{"task": {"name": ..., "parameters": {...}}}``. The loop around it (epochs, optimizer, schedule, precision,
checkpoints, resume) is Milepost's; the task builds what is trained. Nothing that arrives on the bus is imported.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from milepost_contracts.model import ContractModel, JsonObject

from milepost_trainer.engine.parts import TrainingParts

ENTRY_POINT_GROUP = "milepost.training_tasks"

ParametersT = TypeVar("ParametersT", bound=ContractModel)


@dataclass(frozen=True, slots=True)
class TaskContext(Generic[ParametersT]):
    """What a task builds from."""

    parameters: ParametersT
    """Validated, with defaults."""
    inputs: tuple[Path, ...]
    """Verified local files, in the order of the spec's ``data``."""
    names: tuple[str, ...]
    """The datasets' names, in the same order."""
    seed: int
    scratch_directory: Path


@dataclass(frozen=True, slots=True, eq=False)
class BuiltTask:
    """What ``build`` returns."""

    parts: TrainingParts
    card: JsonObject = field(default_factory=JsonObject)
    """Stands in ``model.json``: what inference needs beside the weights (architecture, features, scaling)."""


class TrainingTask(Protocol[ParametersT]):
    """One kind of training."""

    name: str
    version: str
    """Changes with anything that changes results; part of the fingerprint."""
    parameters: type[ParametersT]
    """Its JSON Schema is announced, and specs are checked against it when the command is made."""

    def build(self, context: TaskContext[ParametersT]) -> BuiltTask:
        """Return what is trained; initial weights follow from ``context.seed`` (see ``seeded``).

        Raises:
            ValueError: parameters or inputs are unusable; the message goes to the user as it is.
        """
        ...
