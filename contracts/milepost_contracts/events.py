"""Events: recorded facts about one operation, past tense.

Control events are written by the orchestrator, run events by the worker that owns the operation. An event
is never edited once published: a change is a new version and an upcaster (``upcasting``).
"""

from enum import StrEnum
from typing import ClassVar, TypeAlias

from pydantic import AwareDatetime, Field

from milepost_contracts.artifacts import ArtifactReference, Digest
from milepost_contracts.checkpoints import CheckpointOrigin, CheckpointReason
from milepost_contracts.commands import RunOptions
from milepost_contracts.envelope import Envelope
from milepost_contracts.failures import Failure, Problem
from milepost_contracts.ids import CheckpointId, KindName, OperationId, Token, WorkerId
from milepost_contracts.lineage import Relation, SettingChange
from milepost_contracts.model import ContractModel, JsonObject, Unit


class Side(StrEnum):
    """Who writes an event: also the token before its name in the subject."""

    CONTROL = "control"
    RUN = "run"


class _Event(ContractModel):
    SIDE: ClassVar[Side]
    NAME: ClassVar[str]
    """Last token of the subject, and the word in the type."""
    VERSION: ClassVar[int] = 1

    @classmethod
    def type_name(cls) -> str:
        """Return the CloudEvents type, such as ``milepost.operation.claimed.v1``."""
        return f"milepost.operation.{cls.NAME}.v{cls.VERSION}"


# --- control events -------------------------------------------------------------------------------


class Requested(_Event):
    """The operation exists and waits for a worker."""

    SIDE = Side.CONTROL
    NAME = "requested"
    kind: KindName
    queue: Token = "default"
    name: str | None = None
    spec: JsonObject
    """Resolved: every default filled in, every dataset by digest."""
    inputs: tuple[ArtifactReference, ...] = ()
    """Artifacts that the worker fetches before it starts, pinned by digest."""
    options: RunOptions
    parent_id: OperationId | None = None
    root_id: OperationId
    origin: CheckpointOrigin | None = None
    """Where a resumed operation goes on from; absent for a start, or when the parent had no checkpoint."""
    requested_by: str = "unknown"
    priority: int = 0
    """Place in the queue; see the command."""
    relation: Relation | None = None
    """What it is to its parent; absent without one, and for resumes before forks and retries were known."""
    changes: tuple[SettingChange, ...] = ()
    """What a fork has otherwise than its parent."""
    changed_entries: tuple[str, ...] = ()
    """Entries of the origin's fingerprint that must not be compared, because the changes are meant to be there."""


class CancelRequested(_Event):
    """Someone wants the operation to stop."""

    SIDE = Side.CONTROL
    NAME = "cancel-requested"
    reason: str | None = None
    at_unit: int | None = None
    deadline_at: AwareDatetime | None = None
    """Not ended by then, it is ended by force: by its worker, or without it."""
    force: bool = False
    """The deadline is the moment of the request."""
    before: str | None = None
    """The operation's status when it was asked for; absent where that was not recorded yet."""
    requested_by: str = "unknown"


class Resumed(_Event):
    """A resume, fork or retry was accepted; holds all that creates the child, so a crash cannot lose it."""

    SIDE = Side.CONTROL
    NAME = "resumed"
    child_id: OperationId
    checkpoint_id: CheckpointId | None
    child: Requested
    requested_by: str = "unknown"
    relation: Relation = Relation.RESUME


class CheckpointRecorded(_Event):
    """Every artifact was verified and the manifest is in the store."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-recorded"
    checkpoint_id: CheckpointId
    manifest_key: str
    manifest_digest: Digest
    size_bytes: int
    """Sum over the artifacts."""


class CheckpointRefused(_Event):
    """The checkpoint does not go on record: artifacts are missing or damaged."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-refused"
    checkpoint_id: CheckpointId
    message: str
    artifacts: tuple[Problem, ...]
    """Each bad artifact by name (``field``) and what is wrong with it."""


class CheckpointRequested(_Event):
    """Someone wants a checkpoint now; the owner saves it at its next unit boundary."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-requested"
    reason: str | None = None
    requested_by: str = "unknown"


class Prioritized(_Event):
    """It has another place among what waits."""

    SIDE = Side.CONTROL
    NAME = "prioritized"
    priority: int
    before: int
    reason: str | None = None
    requested_by: str = "unknown"


class CheckpointPinned(_Event):
    """The checkpoint is kept until it is unpinned."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-pinned"
    checkpoint_id: CheckpointId
    reason: str | None = None
    requested_by: str = "unknown"


class CheckpointUnpinned(_Event):
    """The checkpoint may be removed again."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-unpinned"
    checkpoint_id: CheckpointId
    reason: str | None = None
    requested_by: str = "unknown"


class CheckpointDeleted(_Event):
    """The checkpoint is not kept any more: nothing goes on from it."""

    SIDE = Side.CONTROL
    NAME = "checkpoint-deleted"
    checkpoint_id: CheckpointId
    manifest_key: str | None = None
    """Document to remove; absent when it was never on record."""
    size_bytes: int = 0
    """Sum over its artifacts, shared ones included."""
    reason: str | None = None
    requested_by: str = "unknown"


class CheckpointContinued(_Event):
    """A descendant goes on from a checkpoint of this operation, having none of its own.

    Written before the descendant's own ``resumed``: of a deletion and a resume at the same moment one wins.
    """

    SIDE = Side.CONTROL
    NAME = "checkpoint-continued"
    checkpoint_id: CheckpointId
    parent_id: OperationId
    """The descendant that is resumed, forked or retried."""
    child_id: OperationId
    """The operation that is about to be made from it."""
    requested_by: str = "unknown"


class Archived(_Event):
    """Everything before it, up to ``last_sequence``, is in a history file in the store and may be gone here."""

    SIDE = Side.CONTROL
    NAME = "archived"
    history_key: str
    """The document in the store: a history file, compressed with gzip."""
    history_digest: Digest
    """Of the document's bytes."""
    size_bytes: int
    events: int
    """How many there are in the file."""
    last_sequence: int
    """Position of the last of them."""
    end: Envelope | None = None
    """The event that ended the operation, and its position, for whoever cannot read the store; absent if large."""
    requested_by: str = "unknown"


# --- run events -----------------------------------------------------------------------------------


class Claimed(_Event):
    """A worker owns the operation now; every earlier attempt is fenced."""

    SIDE = Side.RUN
    NAME = "claimed"
    attempt: int = Field(ge=1)
    worker_id: WorkerId
    host: str
    pid: int
    lease_seconds: float


class Started(_Event):
    """The computing process is at work."""

    SIDE = Side.RUN
    NAME = "started"
    attempt: int
    unit: Unit
    """Unit it goes on from; 0 from the beginning."""
    total_units: Unit
    unit_name: str
    """``bar``, ``epoch`` or ``step``."""
    checkpoint_id: CheckpointId | None = None
    """The checkpoint it was restored from."""
    fingerprint: dict[str, str] = {}
    environment_differences: tuple[str, ...] = ()
    """What is other than when the checkpoint was saved, accepted by the command: equality is not promised."""


class Progress(_Event):
    """Units done so far, absolute; throttled, so not every unit has one."""

    SIDE = Side.RUN
    NAME = "progress"
    attempt: int
    unit: Unit
    total_units: Unit
    units_per_second: float | None = None
    metrics: dict[str, float] = {}


class StateSnapshot(_Event):
    """A checkpoint exists: its artifacts are in the store."""

    SIDE = Side.RUN
    NAME = "state-snapshot"
    attempt: int
    checkpoint_id: CheckpointId
    unit: Unit
    total_units: Unit
    reason: CheckpointReason
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]
    summary: JsonObject = {}
    """Small and for people: cash, equity, loss. At most 64 KiB."""


class Cancelled(_Event):
    """The operation stopped because someone wanted it to; it can be resumed."""

    SIDE = Side.RUN
    NAME = "cancelled"
    attempt: int
    """0 when no worker had claimed it."""
    unit: Unit
    checkpoint_id: CheckpointId | None
    reason: str | None = None
    forced: bool = False
    """It did not stop by itself in time: what was done after the checkpoint is lost."""


class Completed(_Event):
    """The operation did all its units."""

    SIDE = Side.RUN
    NAME = "completed"
    attempt: int
    unit: Unit
    artifacts: tuple[ArtifactReference, ...]
    """The results."""
    summary: JsonObject = {}


class Failed(_Event):
    """The operation ended with an error; it can be resumed."""

    SIDE = Side.RUN
    NAME = "failed"
    attempt: int
    unit: Unit
    failure: Failure
    checkpoint_id: CheckpointId | None = None


class Released(_Event):
    """The worker gave the operation back, unfinished, for another to go on with."""

    SIDE = Side.RUN
    NAME = "released"
    attempt: int
    unit: Unit
    checkpoint_id: CheckpointId | None
    reason: str


class AttemptLost(_Event):
    """The attempt ended without a word of its own; the operation is queued again."""

    SIDE = Side.RUN
    NAME = "attempt-lost"
    attempt: int
    failure: Failure


ControlEvent: TypeAlias = (
    Requested
    | CancelRequested
    | Resumed
    | CheckpointRecorded
    | CheckpointRefused
    | CheckpointRequested
    | Prioritized
    | CheckpointPinned
    | CheckpointUnpinned
    | CheckpointDeleted
    | CheckpointContinued
    | Archived
)
RunEvent: TypeAlias = (
    Claimed | Started | Progress | StateSnapshot | Cancelled | Completed | Failed | Released | AttemptLost
)
TerminalEvent: TypeAlias = Cancelled | Completed | Failed
Event: TypeAlias = ControlEvent | RunEvent

CONTROL_EVENTS: tuple[type[ControlEvent], ...] = (
    Requested,
    CancelRequested,
    Resumed,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointRequested,
    Prioritized,
    CheckpointPinned,
    CheckpointUnpinned,
    CheckpointDeleted,
    CheckpointContinued,
    Archived,
)
RUN_EVENTS: tuple[type[RunEvent], ...] = (
    Claimed,
    Started,
    Progress,
    StateSnapshot,
    Cancelled,
    Completed,
    Failed,
    Released,
    AttemptLost,
)
EVENTS: dict[str, type[Event]] = {event.type_name(): event for event in (*CONTROL_EVENTS, *RUN_EVENTS)}
"""Event classes of the current versions by CloudEvents type."""
TERMINAL_EVENTS = (Cancelled, Completed, Failed)
