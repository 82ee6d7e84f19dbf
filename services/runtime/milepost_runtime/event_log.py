"""The event log as its users see it: a port, with one conformance suite for every adapter.

States: an operation's events form two streams, *control* (written by orchestrators) and *run* (written by
the worker that owns it). Authority: whoever appends names the last sequence it has seen of that side; if
another writer was there first the append is refused with ``SequenceConflictError``, and that is how a
replaced owner is fenced. Failures: an append whose answer was lost may be repeated with the same event id; it
then returns the position of the first one and writes nothing. An event that this version cannot read raises
``EventDamagedError`` where states are folded, and is handed on as unreadable where the log is projected or copied.
"""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Archived, Event, Progress, Side


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One recorded event and its position."""

    sequence: int
    """Position in the JetStream stream, over all operations."""
    operation_id: str
    envelope: Envelope
    event: Event


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event with its place, exactly as its writer sent it."""

    sequence: int
    """Position in the JetStream stream."""
    operation_id: str
    side: Side
    name: str
    payload: bytes
    """The CloudEvents document."""

    @property
    def subject_tail(self) -> str:
        """What follows the operation in the event's subject."""
        return f"{self.side}.{self.name}"


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An event that cannot be decoded by this version: damaged, or written by a newer one."""

    stored: StoredEvent
    error: str

    @property
    def sequence(self) -> int:
        """Position in the JetStream stream."""
        return self.stored.sequence

    @property
    def operation_id(self) -> str:
        """The operation whose event it is."""
        return self.stored.operation_id


class ProgressEntry(NamedTuple):
    """One progress event and its position; all that anybody folds of it."""

    sequence: int
    """Position in the JetStream stream."""
    operation_id: str
    time: datetime
    attempt: int
    unit: int
    total_units: int
    units_per_second: float | None
    metrics: dict[str, float]
    payload: bytes
    """The CloudEvents document."""

    @property
    def stored(self) -> StoredEvent:
        """The event as its writer sent it."""
        return StoredEvent(self.sequence, self.operation_id, Side.RUN, Progress.NAME, self.payload)


ReadEntry: TypeAlias = LogEntry | UnreadableEntry
BatchEntry: TypeAlias = ReadEntry | ProgressEntry
"""Of a batch; progress may come either way, and says the same."""


class EventLog(Protocol):
    """Append and read events."""

    async def append(self, envelope: Envelope, event: type[Event], *, expected_sequence: int) -> int:
        """Append one event to the operation ``envelope.subject`` and return its sequence.

        ``expected_sequence`` is the sequence of the last event of the same operation and side, 0 for none.

        Raises:
            SequenceConflictError: someone else appended to that side first.
            BusUnavailableError: no answer within the bounds; repeating with the same envelope is safe.
        """
        ...

    async def read_operation(
        self, operation_id: str, *, side: Side | None = None, without: Collection[type[Event]] = ()
    ) -> list[LogEntry]:
        """Return the events of one operation in order, none of the types in ``without``.

        ``without`` is applied by the server, so leaving out progress keeps the cost independent of it.
        """
        ...

    async def last_sequence(self, operation_id: str, side: Side) -> int:
        """Return the sequence of the newest event of that side, 0 for none."""
        ...

    async def last_time(self, operation_id: str, side: Side) -> datetime | None:
        """Return when the newest event of that side was recorded, None without one."""
        ...

    def read_range(self, first_sequence: int, last_sequence: int | None = None) -> AsyncIterator[LogEntry]:
        """Yield events of all operations in order, to ``last_sequence`` or to the present end, then stop."""
        ...

    def tail(self, *, after_sequence: int = 0, operation_id: str | None = None) -> AsyncIterator[LogEntry]:
        """Yield events after ``after_sequence`` in order and wait for more, for ever.

        Heartbeats are watched and gaps detected; the reader goes on by itself after a lost connection.
        """
        ...

    def tail_batches(
        self, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncIterator[list[BatchEntry]]:
        """Yield what ``tail`` yields for all operations, in batches of what is there already.

        A batch is never empty and never held back to become fuller; for the projector. What cannot be read comes
        as an ``UnreadableEntry`` in its place.
        """
        ...

    def batches_to(
        self, last_sequence: int, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncIterator[list[BatchEntry]]:
        """Yield batches as ``tail_batches`` does, up to ``last_sequence`` or the present end, then stop."""
        ...

    def read_types(self, types: Collection[type[Event]]) -> AsyncIterator[LogEntry]:
        """Yield the events of some types of all operations in order, to the present end, then stop.

        The types are chosen by the server, so what is left out costs nothing.
        """
        ...

    async def newest_archived(self, operation_id: str) -> Archived | None:
        """Return the newest ``archived`` event of an operation, None when there is none that can be read."""
        ...

    def stored(self, operation_id: str, *, after_sequence: int = 0) -> AsyncIterator[StoredEvent]:
        """Yield one operation's events as they are stored, readable or not, to the present end, then stop."""
        ...
