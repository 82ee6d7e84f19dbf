"""One operation's fold on its way, event by event, from its beginning or from a waymark. Pure."""

from datetime import datetime
from typing import NamedTuple

from milepost_contracts.events import Progress, Side
from milepost_runtime.event_log import BatchEntry, LogEntry, ProgressEntry, StoredEvent, UnreadableEntry
from milepost_runtime.progress_entries import progress_entry
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.waymarks import Waymark, later
from milepost_orchestrator.domain.evolution import evolve, evolve_progress
from milepost_orchestrator.domain.operation import Operation


class Folded(NamedTuple):
    """A state, and progress after it that is folded only where somebody asks."""

    state: Operation | None = None
    progress: ProgressEntry | None = None

    def settled(self) -> Operation | None:
        """Return the state with the progress in it."""
        state, progress = self
        if state is None or progress is None:
            return state
        return evolve_progress(
            state,
            progress.sequence,
            progress.time,
            unit=progress.unit,
            total_units=progress.total_units,
            units_per_second=progress.units_per_second,
        )


class Folding:
    """What is known of an operation after some of its events, the oldest first.

    Of progress in a row only the last is folded: each replaces what the one before it said. The state is the same.
    """

    def __init__(self, begin: Waymark | None = None) -> None:
        self.number = 0
        """How many events were taken, readable or not."""
        self.first_sequence = 0
        self.sequence = 0
        """Of the last event taken; 0 before the first."""
        self.readable_sequence = 0
        """Of the last event that could be read."""
        self.latest_time: datetime | None = None
        """The latest time of any event taken."""
        self.unreadable: list[UnreadableEntry] = []
        self.before = self.now = Folded()
        self._last: BatchEntry | None = None
        if begin is not None:
            self.number, self.first_sequence = begin.number, begin.first_sequence
            self.sequence = self.readable_sequence = begin.sequence
            self.latest_time = begin.latest_time
            self.now = Folded(begin.state)

    def take(self, stored: StoredEvent) -> BatchEntry:
        """Fold the next event and return it as it was read."""
        entry = read_quickly(stored)
        self.before = self.now
        self.number += 1
        self.first_sequence = self.first_sequence or entry.sequence
        self.sequence = entry.sequence
        self._last = entry
        match entry:
            case UnreadableEntry():
                self.unreadable.append(entry)
                return entry
            case ProgressEntry():
                self.now = Folded(self.now.state, entry)
                self.latest_time = later(self.latest_time, entry.time)
            case LogEntry():
                self.now = Folded(evolve(self.now.settled(), recorded(entry)))
                self.latest_time = later(self.latest_time, entry.envelope.time)
        self.readable_sequence = entry.sequence
        return entry

    def waymark(self) -> Waymark | None:
        """Return the waymark at the last event; None where there cannot be one."""
        state = self.now.settled()
        if state is None or self.unreadable or self._last is None or self.latest_time is None:
            return None
        return Waymark(
            operation_id=state.facts.operation_id,
            number=self.number,
            sequence=self.sequence,
            event_id=event_id_of(self._last),
            first_sequence=self.first_sequence,
            latest_time=self.latest_time,
            state=state,
        )


def read_quickly(stored: StoredEvent) -> BatchEntry:
    """Return the entry; progress in its quick form where that can be read."""
    if stored.name == Progress.NAME and stored.side is Side.RUN:
        progress = progress_entry(stored.sequence, stored.operation_id, stored.payload)
        if progress is not None:
            return progress
    return read_entry(stored)


def is_after(stored: StoredEvent, time: datetime) -> bool:
    """Say whether an event is later than a time; one that cannot be read has none."""
    match read_quickly(stored):
        case UnreadableEntry():
            return False
        case ProgressEntry() as progress:
            return progress.time > time
        case LogEntry(envelope=envelope):
            return envelope.time > time


def event_id_of(entry: BatchEntry) -> str:
    """Return an event's id; empty when it cannot be read."""
    whole = read_entry(entry.stored) if isinstance(entry, ProgressEntry) else entry
    return "" if isinstance(whole, UnreadableEntry) else whole.envelope.id
