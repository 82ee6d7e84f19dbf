"""What a worker needs to know of an operation: a pure fold of its events, progress left out.

The orchestrator's own fold (its domain) answers commands; this one answers a worker's three questions: may I
claim it, as which attempt, and from which checkpoints can it go on?
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from milepost_contracts.checkpoints import CheckpointOrigin, CheckpointReason
from milepost_contracts.events import (
    Archived,
    AttemptLost,
    Cancelled,
    CancelRequested,
    CheckpointContinued,
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointRequested,
    CheckpointUnpinned,
    Claimed,
    Completed,
    Failed,
    Prioritized,
    Progress,
    Released,
    Requested,
    Resumed,
    Side,
    Started,
    StateSnapshot,
)

from milepost_runtime.event_log import LogEntry


@dataclass(frozen=True, slots=True)
class RunView:
    """One operation as its next worker sees it."""

    request: Requested | None = None
    run_sequence: int = 0
    """Position of the newest run event: what the next append must expect."""
    attempt: int = 0
    attempts_lost: int = 0
    owned: bool = False
    """Some attempt has claimed it and has not ended."""
    ended: bool = False
    unit: int = 0
    snapshots: tuple[StateSnapshot, ...] = ()
    refused: frozenset[str] = frozenset()
    """Checkpoints that are not to be gone on from: bad ones, and deleted ones."""
    cancel: CancelRequested | None = None
    manual_sequence: int = 0
    """Position of the newest checkpoint that was saved on request: what was asked for before it is done."""

    @property
    def candidates(self) -> tuple[StateSnapshot | CheckpointOrigin, ...]:
        """Checkpoints to go on from, best first: its own newest ones, then the one it was resumed from."""
        kept = [snapshot for snapshot in self.snapshots if snapshot.checkpoint_id not in self.refused]
        newest_first = sorted(kept, key=lambda snapshot: snapshot.unit)[::-1]
        origin = self.request.origin if self.request else None
        return (*newest_first, *((origin,) if origin else ()))


def fold(entries: Iterable[LogEntry]) -> RunView:
    """Return the view after all of ``entries``."""
    view = RunView()
    for entry in entries:
        view = _evolve(view, entry)
    return view


def _evolve(view: RunView, entry: LogEntry) -> RunView:
    event = entry.event
    if event.SIDE is Side.RUN:
        view = replace(view, run_sequence=entry.sequence)
    match event:
        case Requested():
            return replace(view, request=event, unit=event.origin.unit if event.origin else 0)
        case CancelRequested():
            return replace(view, cancel=_earlier(view.cancel, event))
        case CheckpointRefused() | CheckpointDeleted():
            return replace(view, refused=view.refused | {event.checkpoint_id})
        case Claimed():
            lost = view.attempts_lost + (1 if view.owned else 0)
            return replace(view, attempt=event.attempt, attempts_lost=lost, owned=True)
        case StateSnapshot():
            manual = entry.sequence if event.reason is CheckpointReason.MANUAL else view.manual_sequence
            return replace(view, snapshots=(*view.snapshots, event), unit=event.unit, manual_sequence=manual)
        case AttemptLost():
            return replace(view, owned=False, attempts_lost=view.attempts_lost + 1)
        case Released():
            return replace(view, owned=False, unit=event.unit)
        case Archived():
            return replace(view, owned=False, ended=True)  # only what has ended is archived
        case Cancelled() | Completed() | Failed():
            return replace(view, owned=False, ended=True, unit=event.unit)
        case Started() | Progress() | Resumed() | CheckpointRecorded():
            return view
        case (
            Prioritized()
            | CheckpointRequested()
            | CheckpointPinned()
            | CheckpointUnpinned()
            | CheckpointContinued()
        ):
            return view


def _earlier(old: CancelRequested | None, new: CancelRequested) -> CancelRequested:
    """Of two cancels the one that stops earlier stands."""
    if old is None or new.at_unit is None:
        return new
    return new if old.at_unit is not None and new.at_unit < old.at_unit else old
