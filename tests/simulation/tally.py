"""What a simulation got to: a search that never gets into trouble shows nothing.

``Tally`` reads it from the log and the verdicts. What neither of them tells (an owner that was fenced, an orphan
that was swept) is counted where it happens, in ``Servers.seen``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from milepost_contracts.cleanup import CleanedUp, KeptBecause
from milepost_contracts.events import (
    AttemptLost,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Failed,
    Released,
    Resumed,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import FailureCode, RejectionCode
from milepost_contracts.lineage import Relation
from milepost_contracts.verdicts import Duplicate, Rejected
from milepost_orchestrator.application.answers import AnyAnswer
from milepost_runtime.event_log import LogEntry


class Seen(StrEnum):
    """Each situation that the invariants are about, in words."""

    ATTEMPT_LOST = "an attempt was lost with its worker"
    MARKED_LOST = "the sweeper found an operation whose work and worker were gone"
    WENT_ON = "an attempt went on from the checkpoint of an earlier one"
    RELEASED = "a worker that shut down gave its operation to the next"
    FENCED = "an owner that was replaced came back and wrote nothing more"
    EXHAUSTED = "an operation failed since too many attempts were lost"
    CANCELLED = "a worker saved and cancelled"
    CANCEL_OF_LOST = "the worker of an operation that was to be cancelled was lost"
    CANCELLED_FOR_IT = "an orchestrator ended what its worker did not"
    CANCEL_LOST = "an operation completed although it was to be cancelled"
    RESUMED = "a child went on from its parent's checkpoint"
    RESUME_REFUSED = "a second resume was refused, for the first one's child lives"
    RESUMED_AGAIN = "a parent was resumed again after its child had ended"
    FORKED = "a fork with another setting"
    RETRIED = "a retry"
    DUPLICATE = "a command that came again had no second effect"
    REDELIVERED = "an orchestrator was given what another one had left"
    DELETE_REFUSED = "a checkpoint that is needed was not deleted"
    PIN_KEPT = "a pinned checkpoint was not deleted"
    CLEANED_UP = "a cleanup deleted"
    CLEANUP_SPARED = "a cleanup skipped an operation that has a live resume"
    ORPHAN_SWEPT = "an object that nothing refers to was swept"


_REFUSALS = {
    RejectionCode.RESUME_IN_PROGRESS: Seen.RESUME_REFUSED,
    RejectionCode.CHECKPOINT_IN_USE: Seen.DELETE_REFUSED,
    RejectionCode.CHECKPOINT_PINNED: Seen.PIN_KEPT,
}
_RELATIONS = {Relation.FORK: Seen.FORKED, Relation.RETRY: Seen.RETRIED}


@dataclass
class _Course:
    """One operation as far as counting needs it."""

    owned: bool = False
    cancelling: bool = False
    resumed: bool = False


class Tally:
    """Counts what events and verdicts mean, in their order."""

    def __init__(self, seen: Counter[Seen]) -> None:
        self._seen = seen
        self._courses: dict[str, _Course] = {}
        self._savers: dict[str, tuple[str, int]] = {}
        """Of each checkpoint: the operation and the attempt that saved it."""

    def event(self, entry: LogEntry) -> None:
        """Count the next event of the log."""
        course = self._courses.setdefault(entry.operation_id, _Course())
        self._seen.update(self._meanings(entry, course))
        match entry.event:
            case Claimed():
                course.owned = True
            case CancelRequested():
                course.cancelling = True
            case AttemptLost() | Released() | Cancelled() | Completed() | Failed():
                course.owned = False
            case Resumed() as event:
                course.resumed |= event.relation is Relation.RESUME
            case StateSnapshot() as event:
                self._savers[event.checkpoint_id] = (entry.operation_id, event.attempt)
            case _:
                pass

    def verdict(self, verdict: AnyAnswer) -> None:
        """Count a verdict."""
        match verdict:
            case Duplicate():
                self._seen[Seen.DUPLICATE] += 1
            case Rejected() if verdict.code in _REFUSALS:
                self._seen[_REFUSALS[verdict.code]] += 1
            case CleanedUp():
                self._seen[Seen.CLEANED_UP] += len(verdict.deleted)
                self._seen[Seen.PIN_KEPT] += verdict.kept_counts[KeptBecause.PINNED]
                self._seen[Seen.CLEANUP_SPARED] += any("goes on from" in e.message for e in verdict.skipped)
            case _:
                pass

    def _meanings(self, entry: LogEntry, course: _Course) -> Iterator[Seen]:
        match entry.event:
            case Claimed() if course.owned:
                yield from _lost(course)
            case AttemptLost():
                yield Seen.MARKED_LOST
                yield from _lost(course)
            case Started(checkpoint_id=str() as checkpoint_id, attempt=attempt):
                yield from self._restored(entry.operation_id, attempt, checkpoint_id)
            case Released():
                yield Seen.RELEASED
            case Cancelled() if entry.envelope.source.startswith("/worker/"):
                yield Seen.CANCELLED
            case Cancelled() if course.owned:
                yield Seen.CANCELLED_FOR_IT
            case Completed() if course.cancelling:
                yield Seen.CANCEL_LOST
            case Failed(failure=failure) if failure.code is FailureCode.ATTEMPTS_EXHAUSTED:
                yield Seen.EXHAUSTED
            case Resumed(relation=relation):
                yield from _continued(course, relation)
            case _:
                pass

    def _restored(self, operation_id: str, attempt: int, checkpoint_id: str) -> Iterator[Seen]:
        saver, saved_in = self._savers[checkpoint_id]
        if saver != operation_id:
            yield Seen.RESUMED
        elif saved_in < attempt:
            yield Seen.WENT_ON


def _lost(course: _Course) -> Iterator[Seen]:
    yield Seen.ATTEMPT_LOST
    if course.cancelling:
        yield Seen.CANCEL_OF_LOST


def _continued(course: _Course, relation: Relation) -> Iterator[Seen]:
    if relation is Relation.RESUME and course.resumed:
        yield Seen.RESUMED_AGAIN
    elif relation in _RELATIONS:
        yield _RELATIONS[relation]
