"""An event log in memory: the same answers as JetStream's, without a server.

Events go through their wire form, so what does not survive it does not survive here either. Faults are made by
hand: ``away`` makes every append fail, ``lose_next_answer`` stores the next one and fails all the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from datetime import datetime

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import EVENTS, Archived, Event, Progress, Side
from milepost_contracts.messages import decode, encode
from milepost_contracts.subjects import Subjects
from milepost_contracts.upcasting import decode_event

from milepost_runtime.errors import BusUnavailableError, SequenceConflictError
from milepost_runtime.event_log import BatchEntry, LogEntry, StoredEvent
from milepost_runtime.progress_entries import progress_entry


class MemoryEventLog:
    """Implements ``EventLog`` for one event loop."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        """Everything appended; the entry at index i has sequence i + 1."""
        self.away = False
        """While true, appends fail as if no server answered."""
        self._lose_next_answer = False
        self._grown = asyncio.Event()

    def lose_next_answer(self) -> None:
        """Store the next append and fail it nevertheless."""
        self._lose_next_answer = True

    async def append(self, envelope: Envelope, event: type[Event], *, expected_sequence: int) -> int:
        """Append one event; see the port."""
        Subjects().event(envelope.subject, event)  # the same names are refused
        if self.away:
            raise BusUnavailableError("the test took the bus away")
        of_side = [entry for entry in self._of(envelope.subject) if entry.event.SIDE is event.SIDE]
        last = of_side[-1].sequence if of_side else 0
        if last != expected_sequence:
            following = next((entry for entry in of_side if entry.sequence > expected_sequence), None)
            if following is not None and following.envelope.id == envelope.id:
                return following.sequence
            raise SequenceConflictError(f"{envelope.subject}: expected {expected_sequence}, is {last}")
        duplicate = next((entry for entry in self.entries if entry.envelope.id == envelope.id), None)
        if duplicate is not None:
            return duplicate.sequence
        sequence = self._store(envelope)
        if self._lose_next_answer:
            self._lose_next_answer = False
            raise BusUnavailableError("the test lost the answer")
        return sequence

    async def read_operation(
        self, operation_id: str, *, side: Side | None = None, without: Collection[type[Event]] = ()
    ) -> list[LogEntry]:
        """Return one operation's events; see the port."""
        return [
            entry
            for entry in self._of(operation_id)
            if side in (None, entry.event.SIDE) and type(entry.event) not in without
        ]

    async def last_sequence(self, operation_id: str, side: Side) -> int:
        """Return the newest sequence of one side; see the port."""
        return max((e.sequence for e in self._of(operation_id) if e.event.SIDE is side), default=0)

    async def last_time(self, operation_id: str, side: Side) -> datetime | None:
        """Return when the newest event of one side was recorded; see the port."""
        times = [entry.envelope.time for entry in self._of(operation_id) if entry.event.SIDE is side]
        return times[-1] if times else None

    async def read_range(
        self, first_sequence: int, last_sequence: int | None = None
    ) -> AsyncGenerator[LogEntry]:
        """Yield events of all operations to the end; see the port."""
        end = len(self.entries) if last_sequence is None else min(last_sequence, len(self.entries))
        for entry in self.entries[max(first_sequence - 1, 0) : end]:
            yield entry

    async def tail(
        self, *, after_sequence: int = 0, operation_id: str | None = None
    ) -> AsyncGenerator[LogEntry]:
        """Yield events and wait for more; see the port."""
        while True:
            for entry in await self._after(after_sequence):
                after_sequence = entry.sequence
                if operation_id in (None, entry.operation_id):
                    yield entry

    async def tail_batches(
        self, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncGenerator[list[BatchEntry]]:
        """Yield what is there already, in batches; see the port."""
        while True:
            batch = (await self._after(after_sequence))[:entries_max]
            after_sequence = batch[-1].sequence
            yield [_batch_entry(entry) for entry in batch]

    async def batches_to(
        self, last_sequence: int, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncGenerator[list[BatchEntry]]:
        """Yield batches and stop; see the port."""
        entries = self.entries[after_sequence:last_sequence]
        for first in range(0, len(entries), entries_max):
            yield [_batch_entry(entry) for entry in entries[first : first + entries_max]]

    async def read_types(self, types: Collection[type[Event]]) -> AsyncGenerator[LogEntry]:
        """Yield the events of some types of all operations; see the port."""
        for entry in list(self.entries):
            if type(entry.event) in types:
                yield entry

    async def newest_archived(self, operation_id: str) -> Archived | None:
        """Return the newest ``archived`` event of an operation; see the port."""
        found = (entry.event for entry in reversed(self._of(operation_id)))
        return next((event for event in found if isinstance(event, Archived)), None)

    async def stored(self, operation_id: str, *, after_sequence: int = 0) -> AsyncGenerator[StoredEvent]:
        """Yield one operation's events as they are stored; see the port."""
        for entry in self._of(operation_id):
            if entry.sequence > after_sequence:
                side, name = entry.event.SIDE, entry.event.NAME
                yield StoredEvent(entry.sequence, operation_id, side, name, _payload(entry))

    async def _after(self, sequence: int) -> list[LogEntry]:
        while len(self.entries) <= sequence:
            await self._grown.wait()
        return self.entries[sequence:]

    def _store(self, envelope: Envelope) -> int:
        sequence = len(self.entries) + 1
        stored = decode(encode(envelope)).model_copy(update={"sequence": str(sequence)})
        if stored.type not in EVENTS:
            raise ValueError(f"{stored.type} is no event")
        self.entries.append(LogEntry(sequence, envelope.subject, stored, decode_event(stored)))
        self._grown.set()
        self._grown = asyncio.Event()
        return sequence

    def _of(self, operation_id: str) -> list[LogEntry]:
        return [entry for entry in self.entries if entry.operation_id == operation_id]


def _payload(entry: LogEntry) -> bytes:
    return encode(entry.envelope.model_copy(update={"sequence": None}))


def _batch_entry(entry: LogEntry) -> BatchEntry:
    if not isinstance(entry.event, Progress):
        return entry
    return progress_entry(entry.sequence, entry.operation_id, _payload(entry)) or entry
