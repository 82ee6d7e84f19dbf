"""What a team writes to plug in a kind of work: a ``WorkerKind`` and its ``Job``.

A kind is registered under the entry point group ``milepost.kinds``; nothing that arrives on the bus is ever
imported or executed. The host only reads ``name`` and ``default_checkpoint_policy``, so importing the kind must be
cheap; ``warm_up``, ``describe`` and ``create_job`` run in the computing child and may import whatever they need.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import JsonObject

from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint

ENTRY_POINT_GROUP = "milepost.kinds"


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a job is made from."""

    operation_id: str
    spec: JsonObject
    """Resolved and validated."""
    inputs: Mapping[str, Path]
    """Verified local files by artifact name (of ``Requested.inputs``) and again by digest."""
    scratch_directory: Path
    """The job's own; gone when the operation ends."""
    cache_directory: Path | None = None
    """The worker's, for what can be made again: kept between operations, shared by its children, may be lost."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a finished job leaves: files in the results directory, and a few numbers for people."""

    files: Mapping[str, str]
    """Media type by file name, in the directory given to ``write_results``."""
    summary: JsonObject = field(default_factory=JsonObject)


class Job(Protocol):
    """One operation's computing, in the child process; made by ``WorkerKind.create_job``."""

    total_units: int
    unit_name: str
    """What this job counts: ``bar``, ``epoch`` or ``step``."""
    fingerprint: Mapping[str, str]
    """What must be equal for a resumed run to be exact: code, engine, schema and data versions.

    Names of what may be accepted as different begin with ``environment.`` (see ``fingerprints``). The runtime
    compares it with a checkpoint's before ``restore_from_checkpoint``.
    """

    def restore_from_checkpoint(self, checkpoint: LoadedCheckpoint) -> None:
        """Put everything back; the run goes on with the unit after the checkpoint."""
        ...

    def run(self, host: BridgeHost) -> bool:
        """Do units until all are done; return False when the bridge said stop before that.

        Makes its own bridge with what ``host`` offers. An exception ends the operation as failed.
        """
        ...

    def write_results(self, directory: Path) -> JobResult:
        """Write the result files; called once, after ``run`` returned True."""
        ...


class WorkerKind(Protocol):
    """One kind of work, as registered under ``milepost.kinds``.

    It may have a ``preload`` too: names of modules that take long to import and stay the same while a worker runs.
    Children are then forked off a process that has imported them; what is not named there each child imports
    anew. They must survive a fork: importing them starts no Python thread and uses no device.
    """

    name: str
    default_checkpoint_policy: CheckpointPolicySpec
    """Used when neither the command nor the worker's settings say otherwise."""

    def describe(self) -> KindDescription:
        """Return what specs must look like, registered parts included.

        Called in each child after ``warm_up``; the host announces it when it differs from the last one.
        """
        ...

    def warm_up(self) -> None:
        """Do the heavy imports; called in a child that waits for its first operation."""
        ...

    def create_job(self, context: JobContext) -> Job:
        """Build the job.

        Raises:
            ValueError: the spec or an input is unusable; the message goes to the user as it is.
        """
        ...


def preload_of(kind: WorkerKind) -> tuple[str, ...]:
    """Return what a kind wants to be imported once for all of its children; nothing when it does not say."""
    found: tuple[str, ...] = getattr(kind, "preload", ())
    return found
