"""An operation as its events tell it: a union of small states over common facts.

States: queued -> running -> completed | failed; queued | running -> cancelling -> cancelled (or
completed, or failed, when those come first).
An attempt that is lost or released leads from running back to queued. Nothing leads out of a terminal state.
Authority: only events, folded by ``evolution.evolve``; no field here is ever written by anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointOrigin, CheckpointReason
from milepost_contracts.events import Requested
from milepost_contracts.failures import Failure, Problem
from milepost_contracts.model import JsonObject


class CheckpointStatus(StrEnum):
    """How far a checkpoint has come."""

    SAVED = "saved"
    """Its event is in the log; it can be recovered from."""
    RECORDED = "recorded"
    """Its artifacts were verified and its manifest is in the store."""
    REFUSED = "refused"
    """Artifacts are missing or damaged."""
    DELETED = "deleted"
    """Someone, or a cleanup, removed it; the read models do not have it any more."""


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RELEASED = "released"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved checkpoint of the operation."""

    checkpoint_id: str
    attempt: int
    unit: int
    total_units: int
    reason: CheckpointReason
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: Mapping[str, str]
    summary: JsonObject
    saved_at: datetime
    sequence: int
    """Position of its event in the log."""
    status: CheckpointStatus = CheckpointStatus.SAVED
    settled_at: datetime | None = None
    """When it was recorded or refused."""
    manifest_key: str | None = None
    manifest_digest: str | None = None
    message: str | None = None
    """Why it was refused."""
    problems: tuple[Problem, ...] = ()
    pinned: bool = False
    """Never removed by a cleanup."""

    @property
    def is_kept(self) -> bool:
        """Whether an operation can go on from it."""
        return self.status not in (CheckpointStatus.REFUSED, CheckpointStatus.DELETED)

    @property
    def size_bytes(self) -> int:
        """Sum over the artifacts."""
        return sum(artifact.size_bytes for artifact in self.artifacts)


def _by_unit(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.unit, checkpoint.sequence


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution by one worker."""

    attempt: int
    worker_id: str
    host: str
    pid: int
    lease_seconds: float
    claimed_at: datetime
    started_at: datetime | None = None
    start_unit: int | None = None
    checkpoint_id: str | None = None
    """The checkpoint it went on from."""
    unit: int | None = None
    """The last unit known of it; None while it goes on."""
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    """None while it owns the operation."""
    failure: Failure | None = None
    reason: str | None = None
    environment_differences: tuple[str, ...] = ()
    """What was accepted as other than when its checkpoint was saved."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A descendant without a checkpoint of its own goes on from one of this operation's."""

    checkpoint_id: str
    parent_id: str
    """The descendant that was resumed, forked or retried."""
    child_id: str
    """The operation that was, or was about to be, made from it."""
    announced_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an operation whatever its state."""

    operation_id: str
    requested: Requested
    requested_at: datetime
    requested_sequence: int
    requested_event_id: str
    sequence: int
    """Position of the last event folded."""
    last_event_at: datetime
    """When that happened; being archived counts for nothing."""
    control_sequence: int
    run_sequence: int
    unit: int
    total_units: int | None = None
    unit_name: str | None = None
    units_per_second: float | None = None
    started_at: datetime | None = None
    attempts: dict[int, Attempt] = field(default_factory=dict[int, Attempt])
    """By number, oldest first. Never changed in place."""
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict[str, Checkpoint])
    """By id, in the order in which they were saved."""
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    """Accepted commands: the id of the event that each one led to, by the command's id."""
    child_id: str | None = None
    """The operation that the last accepted resume or retry made, or is about to make."""
    child_checkpoint_id: str | None = None
    imported_from: str | None = None
    """The history file that it came from: it is here for reading, and nothing is ever done about it."""
    priority: int = 0
    """Of queued operations of a kind the ones with more are dispatched first."""
    children: tuple[str, ...] = ()
    """Every operation that was made from this one, forks included, oldest first."""
    continuations: tuple[Continuation, ...] = ()
    """Who goes on from its checkpoints without being made from it, oldest first."""

    @property
    def origin(self) -> CheckpointOrigin | None:
        """The checkpoint it was resumed from."""
        return self.requested.origin

    @property
    def attempt(self) -> int:
        """Number of the newest attempt, 0 before the first claim."""
        return max(self.attempts, default=0)

    @property
    def newest_attempt(self) -> Attempt | None:
        """The newest attempt, ended or not."""
        return self.attempts.get(self.attempt)

    @property
    def owner(self) -> Attempt | None:
        """The attempt that owns the operation; None when nobody does."""
        newest = self.newest_attempt
        return newest if newest is not None and newest.outcome is None else None

    @property
    def attempts_lost(self) -> int:
        """How many attempts ended without a word of their own."""
        return sum(attempt.outcome is AttemptOutcome.LOST for attempt in self.attempts.values())

    @property
    def newest_kept(self) -> Checkpoint | None:
        """The checkpoint of the highest unit that is kept; of equal ones the latest."""
        kept = (checkpoint for checkpoint in self.checkpoints.values() if checkpoint.is_kept)
        return max(kept, key=_by_unit, default=None)

    @property
    def kept_newest_first(self) -> list[Checkpoint]:
        """Checkpoints that can be gone on from, by unit; of equal ones the latest first."""
        kept = [checkpoint for checkpoint in self.checkpoints.values() if checkpoint.is_kept]
        return sorted(kept, key=_by_unit, reverse=True)

    @property
    def shown_checkpoint_id(self) -> str | None:
        """The newest checkpoint that a resume would go on from."""
        newest = self.newest_kept
        if newest is not None:
            return newest.checkpoint_id
        return self.origin.checkpoint_id if self.origin is not None else None


@dataclass(frozen=True, slots=True)
class Queued:
    """Waits for a worker."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Running:
    """A worker owns it."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Someone wants it to stop; it may still be owned, or wait for a worker that ends it."""

    facts: Facts
    reason: str | None
    at_unit: int | None
    """Stop exactly after this unit; None for at once."""
    deadline_at: datetime | None = None
    """Ended by force when it has not ended by then."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stopped because someone wanted it to."""

    facts: Facts
    ended_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Completed:
    """Did all its units."""

    facts: Facts
    ended_at: datetime
    artifacts: tuple[ArtifactReference, ...]
    summary: JsonObject


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended with an error."""

    facts: Facts
    ended_at: datetime
    failure: Failure


Live: TypeAlias = Queued | Running | Cancelling
Terminal: TypeAlias = Cancelled | Completed | Failed
Operation: TypeAlias = Live | Terminal

TERMINAL = (Cancelled, Completed, Failed)


class Status(StrEnum):
    """The state's word for people and clients."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"


_STATUS: dict[type[Operation], Status] = {
    Queued: Status.QUEUED,
    Running: Status.RUNNING,
    Cancelling: Status.CANCELLING,
    Cancelled: Status.CANCELLED,
    Completed: Status.COMPLETED,
    Failed: Status.FAILED,
}
TERMINAL_STATUSES = frozenset({Status.CANCELLED, Status.COMPLETED, Status.FAILED})


def status_of(operation: Operation) -> Status:
    """Return the word for the operation's state."""
    return _STATUS[type(operation)]


def is_terminal(operation: Operation) -> bool:
    """Say whether nothing can happen to it any more."""
    return isinstance(operation, TERMINAL)
