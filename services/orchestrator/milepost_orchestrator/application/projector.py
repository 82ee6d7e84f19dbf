"""The projector: from the log into Postgres, exactly once.

States: reading from the cursor -> folding a batch -> writing it in one transaction with the cursor -> reading.
Authority: the cursor's row, locked in that transaction. Whoever finds it at or beyond the end of its batch writes
nothing, so two active projectors are harmless. Failures: Postgres away: the batch is written again until it
works; a crash: the next start reads from the cursor; the cursor went back (a restored database): everything known
is forgotten and reading starts anew from there.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol, TypeVar, cast

import structlog
from milepost_contracts.events import Requested
from milepost_runtime.event_log import EventLog, LogEntry

from milepost_orchestrator.application.errors import CursorMovedError, DatabaseUnavailableError
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.projections import Changes, StateCache, project
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation

log = structlog.get_logger()
BATCH_ENTRIES_MAX = 1000
FIRST_DELAY_SECONDS = 0.1
DELAY_SECONDS_MAX = 5.0
ItemT = TypeVar("ItemT")


class ProjectionStore(Protocol):
    """Where read models and the cursor live."""

    async def cursor(self) -> int:
        """Return the last sequence that was applied, 0 for none.

        Raises:
            DatabaseUnavailableError: the database is away.
        """
        ...

    async def apply(self, changes: Changes, *, cursor_min: int) -> bool:
        """Write the rows and move the cursor, in one transaction; False when they were written before.

        Raises:
            CursorMovedError: the cursor is before ``cursor_min``, so something between is missing.
            DatabaseUnavailableError: not written, or not known whether; repeating is safe.
        """
        ...


class Projector:
    """Projects all events; ``run`` for ever."""

    def __init__(
        self, event_log: EventLog, store: ProjectionStore, *, batch_entries_max: int = BATCH_ENTRIES_MAX
    ) -> None:
        self._event_log = event_log
        self._store = store
        self._batch_entries_max = batch_entries_max
        self._cache = StateCache()
        self._position = 0
        self._moved = asyncio.Condition()

    @property
    def position(self) -> int:
        """The last sequence known to be projected."""
        return self._position

    async def reached(self, sequence: int) -> None:
        """Wait until everything up to ``sequence`` is projected; bound it with a timeout of your own."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= sequence)

    async def run(self) -> None:
        """Project until cancelled."""
        while True:
            try:
                await self._project_from_cursor()
            except CursorMovedError as error:
                log.warning("cursor moved", reason=str(error))
                self._cache.clear()

    async def _project_from_cursor(self) -> None:
        await self._move(await self._cursor())
        log.info("projecting", after_sequence=self._position)
        batches = self._event_log.tail_batches(
            after_sequence=self._position, entries_max=self._batch_entries_max
        )
        async with closing_iterator(batches) as batches:
            async for batch in batches:
                for entry in batch:
                    await self._ensure_known(entry)
                changes = project(self._cache, batch)
                self._cache.trim()
                await self._apply(changes)
                await self._move(changes.last_sequence)

    async def _move(self, sequence: int) -> None:
        async with self._moved:
            self._position = sequence
            self._moved.notify_all()

    async def _ensure_known(self, entry: LogEntry) -> None:
        """Fold what came before the entry, for an operation that has not been heard of since the start."""
        if entry.operation_id in self._cache or isinstance(entry.event, Requested):
            return
        state: Operation | None = None
        async with closing_iterator(self._event_log.tail(operation_id=entry.operation_id)) as earlier:
            async for each in earlier:
                if each.sequence >= entry.sequence:
                    break
                state = evolve(state, recorded(each))
        self._cache.put(entry.operation_id, state)

    async def _cursor(self) -> int:
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                return await self._store.cursor()
            except DatabaseUnavailableError as error:
                delay = await _wait(error, delay)

    async def _apply(self, changes: Changes) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                await self._store.apply(changes, cursor_min=self._position)
            except DatabaseUnavailableError as error:
                delay = await _wait(error, delay)
            else:
                return


async def _wait(error: DatabaseUnavailableError, delay: float) -> float:
    log.warning("projector waits for the database", reason=str(error), next_try_seconds=delay)
    await asyncio.sleep(delay)  # an outage has no event to await
    return min(delay * 2, DELAY_SECONDS_MAX)


def closing_iterator(iterator: AsyncIterator[ItemT]) -> "aclosing[AsyncGenerator[ItemT]]":
    """Close the iterator at the end of the block; the log's iterators are generators in every adapter."""
    return aclosing(cast("AsyncGenerator[ItemT]", iterator))
