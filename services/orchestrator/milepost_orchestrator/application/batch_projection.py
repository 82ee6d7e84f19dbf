"""One batch of events into read models: folded, written, and what cannot be applied set aside.

States of a batch: read -> folded into the cache -> written with the cursor; or, when Postgres refuses a row of it,
forgotten and projected event by event, and the one that is refused alone goes into quarantine. Authority: the
store's quarantine says which events an operation's state is folded without, in every projector and every rebuild.
Failures: a crash in between is projected again from the cursor.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import structlog
from milepost_contracts.events import Archived, Requested
from milepost_runtime.event_log import BatchEntry, EventLog, LogEntry, UnreadableEntry
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import UnwritableError
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.projection_store import ProjectionStore
from milepost_orchestrator.application.projections import (
    OPERATIONS_MAX,
    Changes,
    StateCache,
    project,
    set_aside,
)
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation

log = structlog.get_logger()


class ArchivedOperations(Protocol):
    """Which operations are archived."""

    def newest(self, *, after_sequence: int = 0) -> AsyncIterator[LogEntry]:
        """Yield the newest ``archived`` event of every operation that has one after a sequence."""
        ...


class BatchProjection:
    """Folds batches and remembers the states between them."""

    def __init__(
        self, event_log: EventLog, store: ProjectionStore, *, operations_max: int = OPERATIONS_MAX
    ) -> None:
        self._event_log = event_log
        self._store = store
        self._cache = StateCache(operations_max)
        self._without: dict[str, frozenset[int]] = {}
        self._written_to: dict[str, int] = {}
        """How far operations are in the store although the cursor is not."""

    async def forget(self) -> None:
        """Forget every state, and look again what is in quarantine.

        Raises:
            DatabaseUnavailableError: the database is away.
        """
        self._cache.clear()
        self._without = dict(await self._store.quarantined())

    async def fold(self, batch: Sequence[BatchEntry]) -> Changes:
        """Return the rows of a batch that is next in the log."""
        begun: set[str] = set()
        archived: dict[int, Operation | None] = {}
        for entry in batch:
            operation_id = entry.operation_id
            if entry.sequence <= self._written_to.get(operation_id, 0):
                continue
            if isinstance(entry, LogEntry) and isinstance(entry.event, Archived):
                archived[entry.sequence] = await self._state_before(operation_id, entry.sequence)
            elif operation_id in self._cache or operation_id in begun or isinstance(entry, UnreadableEntry):
                continue
            elif isinstance(entry, LogEntry) and isinstance(entry.event, Requested):
                begun.add(operation_id)
            else:
                self._cache.put(operation_id, await self._state_before(operation_id, entry.sequence))
        changes = project(self._cache, batch, archived=archived, written_to=self._written_to)
        self._cache.trim()
        for row in changes.quarantine:
            known = self._without.get(row.operation_id, frozenset())
            self._without[row.operation_id] = known | {row.sequence}
            log.error(
                "event set aside", sequence=row.sequence, operation_id=row.operation_id, reason=row.error
            )
        return changes

    async def write(self, changes: Changes, *, cursor_min: int) -> None:
        """Write the rows; see ``ProjectionStore.apply``.

        Raises:
            UnwritableError: a row is refused; nothing was written. Go on with ``write_one_by_one``.
        """
        await self._store.apply(changes, cursor_min=cursor_min)

    async def write_one_by_one(self, batch: Sequence[BatchEntry], *, cursor_min: int) -> None:
        """Fold and write a batch that was refused, event by event."""
        await self.forget()
        for entry in batch:
            changes = await self.fold([entry])
            try:
                await self._store.apply(changes, cursor_min=cursor_min)
            except UnwritableError as error:
                log.exception("event set aside", sequence=entry.sequence, operation_id=entry.operation_id)
                await self._store.apply(set_aside(entry, str(error)), cursor_min=cursor_min)
                await self.forget()
            cursor_min = changes.last_sequence

    async def restore_archived(self, archived: ArchivedOperations, cursor: int) -> None:
        """Write the operations that were archived after the cursor: the log may not have their events any more.

        Raises:
            CursorMovedError: another projector writes; look again from where it is.
        """
        self._written_to = {}
        async with closing_iterator(archived.newest(after_sequence=cursor)) as found:
            async for entry in found:
                if isinstance(entry.event, Archived):
                    await self._restore(entry.operation_id, entry.event.last_sequence, cursor)

    async def _restore(self, operation_id: str, last_sequence: int, cursor: int) -> None:
        entries: list[BatchEntry] = []
        async with closing_iterator(self._event_log.stored(operation_id)) as stored_events:
            async for stored in stored_events:
                if stored.sequence > last_sequence:
                    break
                entries.append(read_entry(stored))
        await self._store.restore([operation_id], project(StateCache(), entries), cursor=cursor)
        self._written_to[operation_id] = last_sequence

    async def _state_before(self, operation_id: str, before_sequence: int) -> Operation | None:
        """Fold what came before, for an operation that has not been heard of since the start."""
        without = self._without.get(operation_id, frozenset())
        state: Operation | None = None
        async with closing_iterator(self._event_log.stored(operation_id)) as earlier:
            async for stored in earlier:
                if stored.sequence >= before_sequence:
                    break
                known = read_entry(stored)
                if isinstance(known, LogEntry) and stored.sequence not in without:
                    state = evolve(state, recorded(known))
        return state
