"""What a team writes to plug in a training of its own: a ``TrainingTask``.

Registered under the entry point group ``milepost.training_tasks``; a spec names it as
``{"task": {"name": ..., "parameters": {...}}}``. The loop around it (epochs, optimizer, schedule, precision,
checkpoints, resume) is Milepost's; the task builds what is trained. Nothing that arrives on the bus is imported.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from milepost_contracts.model import ContractModel, JsonObject

from milepost_trainer.engine.order import generator_for
from milepost_trainer.engine.parts import TrainingParts

ENTRY_POINT_GROUP = "milepost.training_tasks"

ParametersT = TypeVar("ParametersT", bound=ContractModel)


@dataclass(frozen=True, slots=True)
class TaskContext(Generic[ParametersT]):
    """What a task builds from."""

    parameters: ParametersT
    """Validated, with defaults."""
    seed: int = 0
    """The spec's; what the task draws while it builds must follow from it."""
    inputs: tuple[Path, ...] = ()
    """Verified local files, in the order of the spec's ``data``."""
    names: tuple[str, ...] = ()
    """The datasets' names, in the same order."""
    scratch_directory: Path = Path()
    """The job's own; gone when the operation ends."""


@dataclass(frozen=True, slots=True, eq=False)
class BuiltTask:
    """What ``build`` returns."""

    parts: TrainingParts
    card: JsonObject = field(default_factory=JsonObject)
    """Stands in ``model.json``: what inference needs beside the weights (architecture, features, scaling)."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the libraries that the samples or the loss rest on, by name; part of the fingerprint."""


class TrainingTask(Protocol[ParametersT]):
    """One kind of training."""

    name: str
    """The entry point's; specs use it."""
    version: str
    """Changes with anything that changes results; part of the fingerprint."""
    parameters: type[ParametersT]
    """Its JSON Schema is announced, and specs are checked against it when the command is made."""

    def build(self, context: TaskContext[ParametersT]) -> BuiltTask:
        """Return what is trained; initial weights follow from ``context.seed`` (see ``seeded``).

        Called in the computing child, once for each attempt; heavy imports belong here, for every worker of
        trainings imports the task's module to announce it.

        Raises:
            ValueError: parameters or inputs are unusable; the message goes to the user as it is.
        """
        ...


@contextmanager
def seeded(seed: int, purpose: str = "weights") -> Generator[None]:
    """Let torch draw what follows from the seed, and leave everybody else's random numbers alone.

    Layers made inside have initial weights that are the same in every attempt.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator_for(seed, purpose).get_state())
        yield
