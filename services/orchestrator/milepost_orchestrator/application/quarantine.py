"""The quarantine: events that could not be applied, kept as they are stored, and applied once that is possible.

States of an event: set aside (its operation's rows are told without it) -> tried again: still refused, or applied,
when all rows of its operation are written anew as if it had never been set aside. Authority: one transaction that
holds the cursor. Failures: a retry that broke off changed nothing; more is set aside than can be tried at a start:
what is left is told, and the next start begins elsewhere, so nothing is left out for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from milepost_runtime.errors import ArchiveDamagedError
from milepost_runtime.event_log import EventLog, ReadEntry, UnreadableEntry
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import UnwritableError
from milepost_orchestrator.application.projection_store import ProjectionStore
from milepost_orchestrator.application.projections import Changes, project
from milepost_orchestrator.application.state_cache import StateCache
from milepost_orchestrator.application.storable import UnstorableError, check_storable

log = structlog.get_logger()
PAGE = 100
"""Operations."""
TRIED_AT_START_MAX = 1000
"""Operations: each is read whole, and nothing is projected meanwhile."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One event that was set aside."""

    sequence: int
    operation_id: str
    side: str
    name: str
    error: str
    payload: bytes
    """The event as it is stored."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What came of trying one operation's events again."""

    operation_id: str
    applied: tuple[int, ...]
    """Sequences that are no longer in quarantine."""
    refused: tuple[int, ...]


class Quarantine:
    """Tries again what was set aside."""

    def __init__(self, event_log: EventLog, store: ProjectionStore) -> None:
        self._event_log = event_log
        self._store = store

    async def retry(self, operation_id: str | None = None) -> list[Retried]:
        """Try the events of one operation again, or of all.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: broken off; repeating is safe.
        """
        if operation_id is not None:
            sequences = await self._store.quarantined_of(operation_id)
            return await self._retry_each({operation_id: sequences} if sequences else {})
        retried: list[Retried] = []
        after = ""
        while page := await self._store.quarantined(after=after, limit=PAGE):
            retried += await self._retry_each(page)
            *_, after = page
        return retried

    async def retry_some(self, begin_after: str, operations_max: int = TRIED_AT_START_MAX) -> list[Retried]:
        """Try the events of so many operations again, from an id on and round, and tell how many are left.

        Raises: as ``retry`` does.
        """
        count = await self._store.quarantined_operations()
        if count == 0:
            return []
        found = dict(await self._store.quarantined(after=begin_after, limit=operations_max))
        if rest := operations_max - len(found):
            found |= await self._store.quarantined(after="", up_to=begin_after, limit=rest)
        retried = await self._retry_each(found)
        log.info(
            "quarantine tried again",
            operations=len(retried),
            applied=sum(len(each.applied) for each in retried),
            refused=sum(len(each.refused) for each in retried),
            operations_left=max(count - len(retried), 0),
        )
        return retried

    async def _retry_each(self, found: Mapping[str, frozenset[int]]) -> list[Retried]:
        return [await self._retry_unless_damaged(*each) for each in found.items()]

    async def _retry_unless_damaged(self, operation_id: str, before: frozenset[int]) -> Retried:
        try:
            return await self._retry(operation_id, before)
        except ArchiveDamagedError as error:
            log.warning("still refused", operation_id=operation_id, reason=str(error))
            return Retried(operation_id, (), tuple(sorted(before)))

    async def _retry(self, operation_id: str, before: frozenset[int]) -> Retried:
        entries = await self._entries(operation_id, max(before))
        if all(_is_hopeless(entry) for entry in entries if entry.sequence in before):
            return Retried(operation_id, (), tuple(sorted(before)))

        async def rows(cursor: int) -> Changes:
            return project(StateCache(), await self._entries(operation_id, cursor))

        try:
            changes = await self._store.replace(operation_id, rows)
        except UnwritableError as error:
            log.warning("still refused", operation_id=operation_id, reason=str(error))
            return Retried(operation_id, (), tuple(sorted(before)))
        refused = {row.sequence for row in changes.quarantine}
        applied = tuple(sorted(before - refused))
        if applied:
            log.info("applied after all", operation_id=operation_id, sequences=applied)
        return Retried(operation_id, applied, tuple(sorted(before & refused)))

    async def _entries(self, operation_id: str, last_sequence: int) -> Sequence[ReadEntry]:
        entries: list[ReadEntry] = []
        async with closing_iterator(self._event_log.stored(operation_id)) as stored:
            async for each in stored:
                if each.sequence > last_sequence:
                    break
                entries.append(read_entry(each))
        return entries


def _is_hopeless(entry: ReadEntry) -> bool:
    """Whether it is known without trying that nothing has changed for it."""
    if isinstance(entry, UnreadableEntry):
        return True
    try:
        check_storable(entry)
    except UnstorableError:
        return True
    return False
