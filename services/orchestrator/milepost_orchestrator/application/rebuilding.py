"""Rebuild: the read models from nothing, beside the live ones, compared, and put in their place.

States: nothing -> a schema of its own, empty -> filled to the live cursor -> compared with the live tables as they
were at one moment -> filled to where the live cursor is now, while projectors wait -> swapped, in one transaction
-> the old tables gone. Reading never stops: until the swap the live tables are read, after it the new ones.
Authority: an advisory lock, one rebuild at a time; the swap's transaction, which either happened or did not.
Failures: whatever breaks off before the swap leaves the live tables as they were, and at most a schema that the
next rebuild removes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog
from milepost_runtime.clock import Clock
from milepost_runtime.event_log import BatchEntry, EventLog

from milepost_orchestrator.application.archive_restoring import ArchivedOperations
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import SwapDelayedError, UnwritableError
from milepost_orchestrator.application.projection_store import ProjectionStore

log = structlog.get_logger()
BATCH_ENTRIES_MAX = 10_000
"""Large: the rows of an operation are written once a batch, however many of its events are in it."""
CLOSE_ENTRIES = 5000
"""So near to the live cursor the comparison begins."""
ROUNDS_MAX = 50
SWAP_TRIES_MAX = 120
SWAP_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far a rebuild has come."""

    stage: str
    """``restoring`` (what is archived), ``filling``, ``comparing`` or ``swapping``."""
    sequence: int
    target_sequence: int
    entries: int


@dataclass(frozen=True, slots=True)
class TableComparison:
    """One table, live and rebuilt, as of the same sequence."""

    table: str
    live_digest: str
    rebuilt_digest: str
    live_rows: int
    rebuilt_rows: int
    examples: tuple[str, ...] = ()
    """Keys of some rows that differ, and on which side they are."""

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows."""
        return self.live_digest == self.rebuilt_digest


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What came of a rebuild."""

    sequence: int
    """Where the comparison was made."""
    entries: int
    seconds: float
    tables: tuple[TableComparison, ...]
    swapped: bool

    @property
    def equal(self) -> bool:
        """Whether live and rebuilt read models were the same."""
        return all(table.equal for table in self.tables)


class LiveSnapshot(Protocol):
    """The live read models as they were at one moment."""

    @property
    def cursor(self) -> int:
        """The last sequence that is in them."""
        ...

    async def compare(self) -> Sequence[TableComparison]:
        """Compare every table with the rebuilt one."""
        ...


class Swap(Protocol):
    """The live read models while no projector can write to them."""

    @property
    def cursor(self) -> int:
        """The last sequence that is in them."""
        ...

    async def commit(self) -> None:
        """Put the rebuilt tables in the place of the live ones."""
        ...


class RebuildSpace(Protocol):
    """Where read models are rebuilt. Every method may raise ``DatabaseUnavailableError``."""

    @property
    def store(self) -> ProjectionStore:
        """The rebuilt read models, for writing."""
        ...

    async def live_cursor(self) -> int:
        """Return the last sequence that the live read models hold."""
        ...

    async def make_indexes(self) -> None:
        """Make the indexes that only readers need; harmless when they are there."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[LiveSnapshot]:
        """Look at the live read models as they are now, for as long as the block lasts."""
        ...

    def swap(self) -> AbstractAsyncContextManager[Swap]:
        """Hold projectors back for as long as the block lasts; readers go on.

        Raises:
            SwapDelayedError: readers did not let go of the tables within the bound; try again.
        """
        ...


class Rebuild:
    """One rebuild in a space that is open."""

    def __init__(
        self,
        event_log: EventLog,
        space: RebuildSpace,
        clock: Clock,
        tell: Callable[[RebuildProgress], None],
        *,
        archived: ArchivedOperations | None = None,
        batch_entries_max: int = BATCH_ENTRIES_MAX,
    ) -> None:
        self._archived = archived
        self._event_log = event_log
        self._space = space
        self._clock = clock
        self._tell = tell
        self._batch_entries_max = batch_entries_max
        self._projection = BatchProjection(event_log, space.store)
        self._position = 0
        self._entries = 0

    async def run(self, *, swap: bool) -> RebuildReport:
        """Rebuild and compare; put the rebuilt read models in place if ``swap``.

        Raises:
            BusUnavailableError, DatabaseUnavailableError, SwapDelayedError: broken off; the live read models are
                as they were.
        """
        begun = self._clock.monotonic_seconds()
        self._projection.forget()
        if self._archived is not None:
            target = await self._space.live_cursor()

            def restored(sequence: int) -> None:
                self._tell(RebuildProgress("restoring", sequence, target, self._entries))

            await self._projection.restore_archived(self._archived, self._position, restored)
        for _ in range(ROUNDS_MAX):
            await self._fill(await self._space.live_cursor(), "filling")
            if await self._space.live_cursor() - self._position <= CLOSE_ENTRIES:
                break
        async with self._space.snapshot() as live:
            await self._fill(live.cursor, "filling")
            self._say("comparing", live.cursor)
            tables = tuple(await live.compare())
        compared_at = self._position
        if swap:
            await self._swap()
        seconds = self._clock.monotonic_seconds() - begun
        return RebuildReport(compared_at, self._entries, seconds, tables, swap)

    async def _swap(self) -> None:
        """Try until readers let go of the tables for a moment; between the tries everybody goes on."""
        await self._space.make_indexes()
        for tries in range(1, SWAP_TRIES_MAX + 1):
            await self._fill(await self._space.live_cursor(), "swapping")
            try:
                async with self._space.swap() as swapping:
                    await self._fill(swapping.cursor, "swapping")
                    self._say("swapping", swapping.cursor)
                    await swapping.commit()
            except SwapDelayedError as error:
                if tries == SWAP_TRIES_MAX:
                    raise
                log.info("swap put off", tries=tries, reason=str(error))
                await asyncio.sleep(SWAP_PAUSE_SECONDS)  # long readers have no event to await
            else:
                return

    async def _fill(self, target: int, stage: str) -> None:
        """Project up to ``target``."""
        if target <= self._position:
            return
        batches = self._event_log.batches_to(
            target, after_sequence=self._position, entries_max=self._batch_entries_max
        )
        async with closing_iterator(batches) as each_batch:
            await self._project(each_batch, target, stage)
        await self._space.store.advance(target)
        self._position = target
        self._say(stage, target)

    async def _project(self, batches: AsyncIterator[list[BatchEntry]], target: int, stage: str) -> None:
        """While one batch is written the next one is read and folded."""
        written: Sequence[BatchEntry] = ()
        writing: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                changes = await self._projection.fold(batch)
                if not await self._was_written(writing, written):
                    changes = await self._projection.fold(batch)
                write = self._projection.write(changes, cursor_min=self._position)
                written, writing = batch, asyncio.create_task(write)
                self._entries += len(batch)
                self._say(stage, target)
            await self._was_written(writing, written)
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait({writing})

    async def _was_written(self, writing: asyncio.Task[None] | None, batch: Sequence[BatchEntry]) -> bool:
        """Wait for it; False when the batch had to be taken apart, so what was folded since is not so."""
        if writing is None:
            return True
        try:
            await writing
        except UnwritableError:
            await self._projection.write_one_by_one(batch, cursor_min=self._position)
            self._position = batch[-1].sequence
            return False
        self._position = batch[-1].sequence
        return True

    def _say(self, stage: str, target: int) -> None:
        self._tell(RebuildProgress(stage, self._position, target, self._entries))
