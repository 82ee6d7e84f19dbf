"""How many events of an operation there were so far, as far as its waymarks need to know."""

from dataclasses import dataclass, field
from datetime import datetime

from milepost_runtime.event_log import BatchEntry, LogEntry, UnreadableEntry

from milepost_orchestrator.application.folding import event_id_of
from milepost_orchestrator.application.waymarks import Waymark, events_between, events_to_first
from milepost_orchestrator.domain.operation import Operation


@dataclass(slots=True)
class EventCount:
    """An operation's events from its first one on."""

    number: int = 0
    first_sequence: int = 0
    latest_time: datetime | None = None
    due: int = field(default_factory=events_to_first)
    """At this number the next waymark is made."""
    is_whole: bool = True
    """False as soon as the state lacks one of them, or they are not counted: then there are no more waymarks."""

    def take(self, entry: BatchEntry) -> bool:
        """Count the next event; say whether the next waymark is due after it."""
        self.number += 1
        if not self.first_sequence:
            self.first_sequence = entry.sequence
        if isinstance(entry, UnreadableEntry):
            self.is_whole = False
            return False
        time = entry.envelope.time if isinstance(entry, LogEntry) else entry.time
        if self.latest_time is None or time > self.latest_time:
            self.latest_time = time
        return self.number >= self.due and self.is_whole

    def waymark(self, entry: BatchEntry, state: Operation) -> Waymark | None:
        """Return the waymark after ``entry``, the last event counted, and say when the next is due."""
        self.due = self.number + events_between(state)
        if self.latest_time is None:
            return None
        return Waymark(
            operation_id=state.facts.operation_id,
            number=self.number,
            sequence=entry.sequence,
            event_id=event_id_of(entry),
            first_sequence=self.first_sequence,
            latest_time=self.latest_time,
            state=state,
        )
