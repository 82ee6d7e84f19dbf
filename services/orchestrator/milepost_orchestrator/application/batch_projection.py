"""One batch of events into read models: folded, written, and what cannot be applied set aside.

States of a batch: read -> folded into the cache -> written with the cursor; or, when Postgres refuses a row of it,
forgotten and projected event by event, and the one that is refused alone goes into quarantine. Authority: the
store's quarantine says which events an operation's state is folded without, in every projector and every rebuild.
Failures: a crash in between is projected again from the cursor.
"""

from collections.abc import Callable, Mapping, Sequence

import structlog
from milepost_contracts.events import Archived, Requested
from milepost_runtime.errors import ArchiveDamagedError
from milepost_runtime.event_log import BatchEntry, EventLog, LogEntry, UnreadableEntry
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.archive_restoring import (
    ArchivedOperations,
    ArchiveRestoring,
)
from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import UnwritableError
from milepost_orchestrator.application.event_counts import EventCount
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.projection_store import ProjectionStore
from milepost_orchestrator.application.projections import Changes, project, set_aside
from milepost_orchestrator.application.restored import NOTHING_RESTORED
from milepost_orchestrator.application.side_by_side import at_once
from milepost_orchestrator.application.state_cache import OPERATIONS_MAX, StateCache
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation

log = structlog.get_logger()


class BatchProjection:
    """Folds batches and remembers the states between them."""

    def __init__(
        self, event_log: EventLog, store: ProjectionStore, *, operations_max: int = OPERATIONS_MAX
    ) -> None:
        self._event_log = event_log
        self._store = store
        self._cache = StateCache(operations_max)
        self._set_aside: dict[str, frozenset[int]] = {}
        """What the last batch set aside, by operation: it may not be in the store's quarantine yet."""
        self._restored = NOTHING_RESTORED

    def forget(self) -> None:
        """Forget every state."""
        self._cache.clear()
        self._set_aside = {}

    async def fold(self, batch: Sequence[BatchEntry]) -> Changes:
        """Return the rows of a batch that is next in the log; all before the last one are written.

        Raises:
            DatabaseUnavailableError, BusUnavailableError, StoreUnavailableError: repeating is safe.
        """
        begun: set[str] = set()
        unknown: dict[str, int] = {}
        archived: list[tuple[str, int]] = []
        for entry in batch:
            operation_id = entry.operation_id
            if self._restored.holds(entry) or isinstance(entry, UnreadableEntry):
                continue
            if isinstance(entry, LogEntry) and isinstance(entry.event, Archived):
                archived.append((operation_id, entry.sequence))
            elif operation_id in self._cache or operation_id in begun or operation_id in unknown:
                continue
            elif isinstance(entry, LogEntry) and isinstance(entry.event, Requested):
                begun.add(operation_id)
            else:
                unknown[operation_id] = entry.sequence
        lost: dict[str, str] = {}
        states = await self._states_before([*unknown.items(), *archived], lost)
        for operation_id, sequence in unknown.items():
            if sequence in states:
                self._cache.put(operation_id, *states[sequence])
        changes = project(
            self._cache,
            batch,
            archived={sequence: states[sequence][0] for _, sequence in archived if sequence in states},
            restored=self._restored,
            lost={key: why for key, why in lost.items() if key not in self._cache and key not in begun},
        )
        self._cache.trim()
        set_aside_now: dict[str, set[int]] = {}
        for row in changes.quarantine:
            set_aside_now.setdefault(row.operation_id, set()).add(row.sequence)
            log.error(
                "event set aside", sequence=row.sequence, operation_id=row.operation_id, reason=row.error
            )
        self._set_aside = {key: frozenset(sequences) for key, sequences in set_aside_now.items()}
        return changes

    async def write(self, changes: Changes, *, cursor_min: int) -> None:
        """Write the rows; see ``ProjectionStore.apply``.

        Raises:
            UnwritableError: a row is refused; nothing was written. Go on with ``write_one_by_one``.
        """
        await self._store.apply(changes, cursor_min=cursor_min)

    async def write_one_by_one(self, batch: Sequence[BatchEntry], *, cursor_min: int) -> None:
        """Fold and write a batch that was refused, event by event."""
        self.forget()
        for entry in batch:
            changes = await self.fold([entry])
            try:
                await self._store.apply(changes, cursor_min=cursor_min)
            except UnwritableError as error:
                log.exception("event set aside", sequence=entry.sequence, operation_id=entry.operation_id)
                await self._store.apply(set_aside(entry, str(error)), cursor_min=cursor_min)
                self.forget()
            cursor_min = changes.last_sequence

    async def restore_archived(
        self, archived: ArchivedOperations, cursor: int, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        """Write the operations that were archived after the cursor: the log may not have their events any more.

        Raises: see ``ArchiveRestoring.run``.
        """
        self._restored = NOTHING_RESTORED
        self._restored = await ArchiveRestoring(self._store, archived).run(cursor, tell)

    async def _states_before(
        self, places: Sequence[tuple[str, int]], lost: dict[str, str]
    ) -> Mapping[int, tuple[Operation | None, EventCount]]:
        """Fold what came before each of some positions; add operations that cannot be read to ``lost``."""

        async def one(
            operation_id: str, sequence: int
        ) -> tuple[int, tuple[Operation | None, EventCount]] | None:
            try:
                return sequence, await self._state_before(operation_id, sequence)
            except ArchiveDamagedError as error:
                lost[operation_id] = str(error)
                return None

        found = await at_once([one(operation_id, sequence) for operation_id, sequence in places])
        return dict(each for each in found if each is not None)

    async def _state_before(
        self, operation_id: str, before_sequence: int
    ) -> tuple[Operation | None, EventCount]:
        """Fold and count what came before, for an operation that has not been heard of since the start."""
        without = await self._store.quarantined_of(operation_id)
        without |= self._set_aside.get(operation_id, frozenset())
        state: Operation | None = None
        count = EventCount()
        async with closing_iterator(self._event_log.stored(operation_id)) as earlier:
            async for stored in earlier:
                if stored.sequence >= before_sequence:
                    break
                known = read_entry(stored)
                count.take(known)
                if isinstance(known, LogEntry) and stored.sequence not in without:
                    state = evolve(state, recorded(known))
        count.is_whole = count.is_whole and not without
        return state, count
