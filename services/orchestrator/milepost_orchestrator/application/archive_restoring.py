"""Archived operations into read models, from their files: several are fetched while others are written.

States of an operation: named by its newest ``archived`` event -> its file fetched and compared with the digest ->
its rows written, with others in one transaction that leaves the cursor where it is. Authority: that event; whether
anything before it is still in the log is asked of the log. Failures: a crash in between is repeated from the
first; a file that is damaged leaves its operation as it is, named in the log.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import structlog
from milepost_contracts.events import Archived
from milepost_runtime.errors import ArchiveDamagedError
from milepost_runtime.event_log import BatchEntry, LogEntry, StoredEvent
from milepost_runtime.stored_events import batch_entry

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.projection_store import ProjectionStore
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.restored import Restored
from milepost_orchestrator.application.side_by_side import at_once
from milepost_orchestrator.application.state_cache import StateCache

log = structlog.get_logger()
GROUP_EVENTS_MAX = 10_000
GROUP_OPERATIONS_MAX = 500
"""Of one transaction; two of these, or one operation that has more, are in memory."""


class ArchivedOperations(Protocol):
    """Which operations are archived, and what is in their files."""

    def newest(self, *, after_sequence: int = 0) -> AsyncIterator[LogEntry]:
        """Yield the newest ``archived`` event of every operation that has one after a sequence, in their order."""
        ...

    async def first_sequence(self, operation_id: str) -> int | None:
        """Return the position of the first event of the operation that is still in the log."""
        ...

    async def events(self, operation_id: str, archived: Archived) -> Sequence[StoredEvent]:
        """Return the events in the operation's file.

        Raises:
            ArchiveDamagedError: it is not what was put there.
            StoreUnavailableError, StoreAccessError: the store is away, or refuses.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Fetched:
    operation_id: str
    entries: Sequence[BatchEntry]


class ArchiveRestoring:
    """Writes what was archived after a cursor; once."""

    def __init__(self, store: ProjectionStore, archived: ArchivedOperations) -> None:
        self._store = store
        self._archived = archived
        self._to_sequence = 0
        self._partly_removed: dict[str, int] = {}
        self._damaged: set[str] = set()

    async def run(self, cursor: int, tell: Callable[[int], None]) -> Restored:
        """Write all of them; ``tell`` is told the position of each ``archived`` event.

        Raises:
            CursorMovedError: the cursor is not where it was; look again from where it is.
            StoreUnavailableError, BusUnavailableError, DatabaseUnavailableError: broken off; repeating is safe.
        """
        writing: asyncio.Task[None] | None = None
        try:
            async with closing_iterator(self._groups(cursor)) as groups:
                async for group in groups:
                    found = await at_once([self._fetch(entry) for entry in group])
                    if writing is not None:
                        await writing
                    tell(self._to_sequence)
                    self._to_sequence = group[-1].sequence
                    write = self._write([each for each in found if each is not None], cursor)
                    writing = asyncio.create_task(write)
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait({writing})
        return Restored(self._to_sequence, self._partly_removed, frozenset(self._damaged))

    async def _groups(self, cursor: int) -> AsyncGenerator[list[LogEntry]]:
        group: list[LogEntry] = []
        events = 0
        async with closing_iterator(self._archived.newest(after_sequence=cursor)) as found:
            async for entry in found:
                size = entry.event.events if isinstance(entry.event, Archived) else 0
                if group and (events + size > GROUP_EVENTS_MAX or len(group) == GROUP_OPERATIONS_MAX):
                    yield group
                    group, events = [], 0
                group.append(entry)
                events += size
        if group:
            yield group

    async def _fetch(self, entry: LogEntry) -> _Fetched | None:
        operation_id, archived = entry.operation_id, entry.event
        if not isinstance(archived, Archived):
            return None
        try:
            stored = await self._archived.events(operation_id, archived)
        except ArchiveDamagedError as error:
            log.exception("archived operation left as it is", operation_id=operation_id, reason=str(error))
            self._damaged.add(operation_id)
            return None
        entries = await asyncio.to_thread(lambda: [batch_entry(each) for each in stored])
        first = await self._archived.first_sequence(operation_id)
        if first is not None and first < entry.sequence:
            self._partly_removed[operation_id] = archived.last_sequence
        else:
            entries.append(entry)
        return _Fetched(operation_id, entries)

    async def _write(self, operations: Sequence[_Fetched], cursor: int) -> None:
        if not operations:
            return
        changes = project(StateCache(), chain.from_iterable(each.entries for each in operations))
        await self._store.restore([each.operation_id for each in operations], changes, cursor=cursor)
