"""The projector: from the log into Postgres, exactly once.

States: reading from the cursor -> folding a batch -> writing it in one transaction with the cursor -> reading.
Authority: the cursor's row, locked in that transaction. Whoever finds it at or beyond the end of its batch writes
nothing, so two active projectors are harmless. Failures: Postgres away: the batch is written again until it
works; a crash: the next start reads from the cursor; the cursor went back (a restored database) or other read
models took the place of these (a rebuild): everything known is forgotten and reading starts anew from the cursor;
an event that cannot be applied: it is set aside in quarantine, and tried again at a start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import structlog
from milepost_contracts.ids import operation_id_of
from milepost_runtime.clock import random_id
from milepost_runtime.errors import BusUnavailableError, StoreUnavailableError
from milepost_runtime.event_log import BatchEntry, EventLog

from milepost_orchestrator.application.archive_restoring import ArchivedOperations
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import (
    CursorMovedError,
    DatabaseUnavailableError,
    UnwritableError,
)
from milepost_orchestrator.application.projection_store import ProjectionStore
from milepost_orchestrator.application.projections import Changes
from milepost_orchestrator.application.quarantine import Quarantine

log = structlog.get_logger()
BATCH_ENTRIES_MAX = 4000
"""Of what is there already; while it keeps up, batches are as small as what has just come."""
FIRST_DELAY_SECONDS = 0.1
DELAY_SECONDS_MAX = 5.0
AnswerT = TypeVar("AnswerT")
_AWAY = (DatabaseUnavailableError, BusUnavailableError, StoreUnavailableError)


class Listener(Protocol):
    """Who wants to know what was projected, once it is committed. It must return at once."""

    def changed(self, changes: Changes) -> None:
        """Take in a batch."""
        ...

    def begun_anew(self, position: int) -> None:
        """Forget what came before: the read models are now those of ``position``."""
        ...


class Projector:
    """Projects all events; ``run`` for ever."""

    def __init__(
        self,
        event_log: EventLog,
        store: ProjectionStore,
        *,
        batch_entries_max: int = BATCH_ENTRIES_MAX,
        listener: Listener | None = None,
        archived: ArchivedOperations | None = None,
    ) -> None:
        self._archived = archived
        self._listener = listener
        self._event_log = event_log
        self._store = store
        self._batch_entries_max = batch_entries_max
        self._projection = BatchProjection(event_log, store)
        self._quarantine = Quarantine(event_log, store)
        self._position = 0
        self._moved = asyncio.Condition()
        self._begun = asyncio.Event()

    @property
    def position(self) -> int:
        """The last sequence known to be projected."""
        return self._position

    async def begun(self) -> None:
        """Wait until it follows the log; bound it with a timeout of your own."""
        await self._begun.wait()

    async def reached(self, sequence: int) -> None:
        """Wait until everything up to ``sequence`` is projected; bound it with a timeout of your own."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= sequence)

    async def run(self) -> None:
        """Project until cancelled."""
        # Another one at each start, of all that there can be: none is left out for ever.
        begin_after = operation_id_of(random_id("start"))
        await _patiently(lambda: self._quarantine.retry_some(begin_after))
        while True:
            try:
                await self._project_from_cursor()
            except CursorMovedError as error:
                log.warning("cursor moved", reason=str(error))

    async def _project_from_cursor(self) -> None:
        self._projection.forget()
        cursor = await _patiently(self._store.cursor)
        if (archived := self._archived) is not None:
            await _patiently(lambda: self._projection.restore_archived(archived, cursor))
        await self._move(cursor)
        log.info("projecting", after_sequence=self._position)
        if self._listener is not None:
            self._listener.begun_anew(self._position)
        self._begun.set()
        batches = self._event_log.tail_batches(
            after_sequence=self._position, entries_max=self._batch_entries_max
        )
        async with closing_iterator(batches) as each_batch:
            async for batch in each_batch:
                changes = await self._project(batch)
                await self._move(batch[-1].sequence)
                self._tell(changes)

    async def _project(self, batch: Sequence[BatchEntry]) -> Changes | None:
        """Return what was written; None when the batch had to be taken apart."""
        changes = await _patiently(lambda: self._projection.fold(batch))
        try:
            await _patiently(lambda: self._projection.write(changes, cursor_min=self._position))
        except UnwritableError as error:
            log.warning("batch taken apart", last_sequence=changes.last_sequence, reason=str(error))
            await _patiently(lambda: self._projection.write_one_by_one(batch, cursor_min=self._position))
            return None
        return changes

    def _tell(self, changes: Changes | None) -> None:
        if self._listener is None:
            return
        if changes is None:
            self._listener.begun_anew(self._position)
        else:
            self._listener.changed(changes)

    async def _move(self, sequence: int) -> None:
        async with self._moved:
            self._position = sequence
            self._moved.notify_all()


async def _patiently(ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    """Ask until database, log and object store answer."""
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await ask()
        except _AWAY as error:
            log.warning("projector waits", reason=str(error), next_try_seconds=delay)
        await asyncio.sleep(delay)  # an outage has no event to await
        delay = min(delay * 2, DELAY_SECONDS_MAX)
