"""What host and child say to each other: one JSON document a line, over a socket pair.

States of a child: warming -> ready -> running -> one of finished, stopped, raised -> gone. Authority: the host
decides what runs and when it stops; the child alone says what was computed. Failures: a closed socket means
the other side is gone; the child then ends at once, the host looks at the exit status.
"""

from typing import Annotated, Literal, TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.failures import Failure
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import ContractModel, JsonObject
from pydantic import Field, TypeAdapter

LINE_BYTES_MAX = 8 * 1024 * 1024


class RestoredCheckpoint(ContractModel):
    """A verified checkpoint in a local directory."""

    unit: int
    directory: str
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]
    changed_entries: tuple[str, ...] = ()
    """Of the fingerprint: those that a fork has changed since."""
    checksums: dict[str, str] = {}
    """Of the files, by name; where one is missing the digest is compared."""


class Stop(ContractModel):
    """Stop at the next unit boundary, or exactly after ``at_unit``."""

    message: Literal["stop"] = "stop"
    reason: CheckpointReason
    at_unit: int | None = None
    words: str | None = None


class Run(ContractModel):
    """Compute this operation."""

    message: Literal["run"] = "run"
    operation_id: str
    spec: JsonObject
    inputs: dict[str, str]
    scratch_directory: str
    cache_directory: str | None = None
    spool_directory: str
    results_directory: str
    checkpoint: RestoredCheckpoint | None
    policy: CheckpointPolicySpec
    pace_units_per_second: float | None
    stop: Stop | None
    progress_seconds: float
    accept_environment: bool = False


class SaveNow(ContractModel):
    """Save a checkpoint at the next unit boundary (reason manual)."""

    message: Literal["save-now"] = "save-now"


class Committed(ContractModel):
    """The checkpoint staged in ``directory`` is in the log; the next periodic one may be saved."""

    message: Literal["committed"] = "committed"
    directory: str
    files: tuple[ArtifactReference, ...] = ()
    """Its new files, as later checkpoints may refer to them."""


class Ready(ContractModel):
    """The heavy imports are done; what the kind's specs must look like, for the host to announce."""

    message: Literal["ready"] = "ready"
    kind: KindDescription


class Begun(ContractModel):
    """The job is built and restored; the first unit comes now."""

    message: Literal["begun"] = "begun"
    unit: int
    total_units: int
    unit_name: str
    fingerprint: dict[str, str]
    environment_differences: tuple[str, ...] = ()


class Advanced(ContractModel):
    """Units done so far."""

    message: Literal["advanced"] = "advanced"
    unit: int
    metrics: dict[str, float]


class Staged(ContractModel):
    """A checkpoint is complete and durable in the spool."""

    message: Literal["staged"] = "staged"
    directory: str


class Finished(ContractModel):
    """All units are done and the results are written."""

    message: Literal["finished"] = "finished"
    unit: int
    files: dict[str, str]
    summary: JsonObject


class Stopped(ContractModel):
    """Stopped at a unit boundary as asked; its checkpoint was staged before."""

    message: Literal["stopped"] = "stopped"
    unit: int
    reason: CheckpointReason
    words: str | None


class Raised(ContractModel):
    """The job raised; a failure checkpoint, if there is one, was staged before."""

    message: Literal["raised"] = "raised"
    unit: int
    failure: Failure


ToChild: TypeAlias = Annotated[Run | Stop | SaveNow | Committed, Field(discriminator="message")]
ToHost: TypeAlias = Annotated[
    Ready | Begun | Advanced | Staged | Finished | Stopped | Raised, Field(discriminator="message")
]
TO_CHILD: TypeAdapter[Run | Stop | SaveNow | Committed] = TypeAdapter(ToChild)
TO_HOST: TypeAdapter[Ready | Begun | Advanced | Staged | Finished | Stopped | Raised] = TypeAdapter(ToHost)


def encode_line(message: ContractModel) -> bytes:
    """Return the wire form of a message, newline included."""
    return message.model_dump_json().encode() + b"\n"
