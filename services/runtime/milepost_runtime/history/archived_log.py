"""An event log whose archived operations read as if their events were still there.

States of an operation: whole in the log -> archived (its newest ``archived`` event names a file, the log still has
everything) -> removed (the log has that event and what came after it). Authority: the newest ``archived`` event;
everything up to its ``last_sequence`` comes from the file, whatever the log still holds of it. Failures: a store
that is away fails the reading of archived operations and of no others; an operation that is archived while it is
read has to be read again.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from datetime import datetime
from typing import cast

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import CONTROL_EVENTS, Archived, Event, Side

from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.event_log import BatchEntry, EventLog, LogEntry, StoredEvent
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.stored_events import entry_of, read_entry

_OTHER_CONTROL = tuple(event for event in CONTROL_EVENTS if event is not Archived)


class ArchivedEventLog:
    """Implements ``EventLog`` over another one and an archive."""

    def __init__(self, event_log: EventLog, archive: HistoryArchive) -> None:
        self._event_log = event_log
        self._archive = archive

    async def append(self, envelope: Envelope, event: type[Event], *, expected_sequence: int) -> int:
        """Append one event; see the port."""
        return await self._event_log.append(envelope, event, expected_sequence=expected_sequence)

    async def last_sequence(self, operation_id: str, side: Side) -> int:
        """Return the newest sequence that an append must expect: of what the log itself still holds."""
        return await self._event_log.last_sequence(operation_id, side)

    async def last_time(self, operation_id: str, side: Side) -> datetime | None:
        """Return when the newest event of that side was recorded, of what the log itself still holds."""
        return await self._event_log.last_time(operation_id, side)

    async def read_operation(
        self, operation_id: str, *, side: Side | None = None, without: Collection[type[Event]] = ()
    ) -> list[LogEntry]:
        """Return one operation's events; see the port."""
        asked = {"side": side, "without": without}
        if side is Side.RUN:  # whether it is archived is on the other side
            asked = {"side": None, "without": (*without, *_OTHER_CONTROL)}
        entries = await self._event_log.read_operation(operation_id, **asked)  # pyright: ignore[reportArgumentType] - of the port's types
        archived = next((entry for entry in reversed(entries) if isinstance(entry.event, Archived)), None)
        if archived is None or not isinstance(archived.event, Archived):
            return entries
        last_sequence = archived.event.last_sequence
        names = {event.NAME for event in without}
        earlier = [
            entry_of(stored)
            for stored in await self._file(operation_id, archived.event)
            if side in (None, stored.side) and stored.name not in names
        ]
        later = [
            entry for entry in entries if entry.sequence > last_sequence and side in (None, entry.event.SIDE)
        ]
        return earlier + later

    async def stored(self, operation_id: str, *, after_sequence: int = 0) -> AsyncGenerator[StoredEvent]:
        """Yield one operation's events as they are stored; see the port.

        Raises:
            BusUnavailableError: also when it is archived at this very moment; what was yielded may be incomplete.
        """
        newest = await self._event_log.newest_archived(operation_id)
        if newest is not None and newest.last_sequence > after_sequence:
            for stored in await self._file(operation_id, newest):
                if stored.sequence > after_sequence:
                    yield stored
            after_sequence = newest.last_sequence
        events = self._event_log.stored(operation_id, after_sequence=after_sequence)
        async with aclosing(cast("AsyncGenerator[StoredEvent]", events)) as each:
            async for stored in each:
                # Events are removed after this one is there, so whoever misses any of them comes across it.
                if _names_another_file(stored, newest):
                    raise BusUnavailableError(f"{operation_id} was archived while it was read; read it again")
                yield stored

    def read_range(self, first_sequence: int, last_sequence: int | None = None) -> AsyncIterator[LogEntry]:
        """Yield what the log itself still holds; see the port."""
        return self._event_log.read_range(first_sequence, last_sequence)

    async def tail(
        self, *, after_sequence: int = 0, operation_id: str | None = None
    ) -> AsyncGenerator[LogEntry]:
        """Yield events and wait for more; see the port."""
        if operation_id is not None:
            async with aclosing(self.stored(operation_id, after_sequence=after_sequence)) as earlier:
                async for stored in earlier:
                    yield entry_of(stored)
                    after_sequence = stored.sequence
        later = self._event_log.tail(after_sequence=after_sequence, operation_id=operation_id)
        async with aclosing(cast("AsyncGenerator[LogEntry]", later)) as entries:
            async for entry in entries:
                yield entry

    def tail_batches(
        self, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncIterator[list[BatchEntry]]:
        """Yield batches of what the log itself still holds; see the port."""
        return self._event_log.tail_batches(after_sequence=after_sequence, entries_max=entries_max)

    def batches_to(
        self, last_sequence: int, *, after_sequence: int = 0, entries_max: int = 500
    ) -> AsyncIterator[list[BatchEntry]]:
        """Yield batches of what the log itself still holds; see the port."""
        return self._event_log.batches_to(
            last_sequence, after_sequence=after_sequence, entries_max=entries_max
        )

    async def read_types(self, types: Collection[type[Event]]) -> AsyncGenerator[LogEntry]:
        """Yield the events of some types; see the port.

        Those of archived operations come last, operation by operation. What was archived meanwhile may come twice.
        """
        names = {event.NAME for event in types}
        async for entry in self._event_log.read_types(types):
            yield entry
        # Looked for after the log was read: whatever was removed while that went on is in one of these files.
        newest: dict[str, Archived] = {}
        async for entry in self._event_log.read_types((Archived,)):
            if isinstance(entry.event, Archived):
                newest[entry.operation_id] = entry.event
        for operation_id, archived in newest.items():
            for stored in await self._file(operation_id, archived):
                if stored.name in names:
                    yield entry_of(stored)

    async def newest_archived(self, operation_id: str) -> Archived | None:
        """Return the event that names an operation's file; see the port."""
        return await self._event_log.newest_archived(operation_id)

    async def _file(self, operation_id: str, archived: Archived) -> list[StoredEvent]:
        return await asyncio.to_thread(self._archive.get, operation_id, archived)


def _names_another_file(stored: StoredEvent, known: Archived | None) -> bool:
    if stored.name != Archived.NAME or stored.side is not Archived.SIDE:
        return False
    entry = read_entry(stored)
    return isinstance(entry, LogEntry) and entry.event != known
