"""Archive: the events of operations that ended long ago move into files in the object store and leave the log.

States of an operation: in the log -> its file is in the store, read back -> ``archived``, naming the file, is in
the log -> projected, and handled by everybody who acts on events -> its events are removed, that one stays.
Authority: the log's expected sequence, so an operation that somebody writes to at the same moment is passed over;
the read models' cursor, without which nothing is removed; one lock, so no rebuild and no other archiving runs
meanwhile. Failures: whatever breaks off before ``archived`` leaves a file that the next run writes again, byte for
byte; after it, events that are in the file too, which the next run removes. Never is anything removed that was not
read back from the store.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from milepost_contracts.events import TERMINAL_EVENTS, Archived
from milepost_contracts.ids import event_id_of
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.event_log import EventLog, LogEntry, StoredEvent
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.store.stopping import in_thread
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.archive_restoring import ArchivedOperations
from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.effects import Appender
from milepost_orchestrator.application.errors import ProjectionBehindError
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.side_by_side import at_once
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import TERMINAL, CheckpointStatus, Operation, Terminal

log = structlog.get_logger()
PAGE = 100
FOLLOWED_SECONDS = 30.0
FOLLOWED_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class EndedOperation:
    """An operation that the read models say has ended long ago and is not archived."""

    operation_id: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class ArchivedOperation:
    """What became, or would become, of one operation."""

    operation_id: str
    events: int
    size_bytes: int
    """Of the file; 0 in a dry run."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """An operation that is to be archived."""

    state: Terminal
    events: Sequence[StoredEvent]
    end: LogEntry
    """The event that ended it."""


@dataclass(frozen=True, slots=True)
class _Named:
    """Its file is in the store, and the event that names it in the log."""

    archived: Archived
    sequence: int


@dataclass(slots=True)
class ArchiveReport:
    """What came of a run."""

    archived: list[ArchivedOperation] = field(default_factory=list[ArchivedOperation])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """Why, by operation."""
    events_removed: int = 0
    finished: int = 0
    """Operations of an earlier run whose events had not been removed yet."""


class ArchiveLog(ArchivedOperations, Protocol):
    """The event log as an archive works on it."""

    async def still_there(self) -> frozenset[str]:
        """Return the operations that have events which an archived one has no more."""
        ...

    async def handled_to(self) -> int | None:
        """Return up to where everybody who acts on events has handled all of them; None for to the end."""
        ...

    async def remove(self, operation_id: str, archived: Archived) -> int:
        """Remove the events that are in the file, and return how many there were."""
        ...


class ArchiveReadModel(Protocol):
    """What is asked of the read models. Every method may raise ``DatabaseUnavailableError``."""

    async def ended(
        self, before: datetime, after: EndedOperation | None, limit: int
    ) -> Sequence[EndedOperation]:
        """Return operations that ended before a time and are not archived, in the order of their ends."""
        ...

    async def cursor(self) -> int:
        """Return the last sequence that they hold."""
        ...

    async def quarantined(self, operation_ids: Sequence[str]) -> frozenset[str]:
        """Return those of which events are in quarantine."""
        ...


class Archiver:
    """Archives; whoever runs it holds the lock of rebuilds."""

    def __init__(
        self,
        event_log: EventLog,
        archive_log: ArchiveLog,
        archive: HistoryArchive,
        read_model: ArchiveReadModel,
        appender: Appender,
        *,
        prefix: str,
    ) -> None:
        self._event_log = event_log
        self._archive_log = archive_log
        self._archive = archive
        self._read_model = read_model
        self._appender = appender
        self._prefix = prefix

    async def run(
        self,
        ended_before: datetime,
        *,
        requested_by: str,
        dry_run: bool = False,
        tell: Callable[[ArchiveReport], None] = lambda _: None,
    ) -> ArchiveReport:
        """Archive every operation that ended before a time; a dry run says which and does nothing.

        Raises:
            ProjectionBehindError: nobody projects, or acts on events; repeating goes on from there.
            BusUnavailableError, DatabaseUnavailableError, StoreUnavailableError: broken off; repeating goes on.
        """
        report = ArchiveReport()
        if not dry_run:
            await self._finish_earlier(report)
        after: EndedOperation | None = None
        while page := await self._read_model.ended(ended_before, after, PAGE):
            after = page[-1]
            quarantined = await self._read_model.quarantined([each.operation_id for each in page])
            looked_at = [each.operation_id for each in page if each.operation_id not in quarantined]
            report.skipped |= dict.fromkeys(quarantined, "some of its events are in quarantine")
            found = await at_once(
                [self._move(each, ended_before, None if dry_run else requested_by) for each in looked_at]
            )
            by_operation = dict(zip(looked_at, found, strict=True))
            report.skipped |= {key: each for key, each in by_operation.items() if isinstance(each, str)}
            report.archived += [each for each in found if isinstance(each, ArchivedOperation)]
            await self._remove(
                {key: each for key, each in by_operation.items() if isinstance(each, _Named)}, report
            )
            tell(report)
        return report

    async def _finish_earlier(self, report: ArchiveReport) -> None:
        """Remove what a run that broke off has named and not removed."""
        there = await self._archive_log.still_there()
        async with closing_iterator(self._archive_log.newest()) as entries:
            async for entry in entries:
                event = entry.event
                if not isinstance(event, Archived) or entry.operation_id not in there:
                    continue
                await asyncio.to_thread(self._archive.get, entry.operation_id, event)
                await self._followed(entry.sequence)
                report.events_removed += await self._archive_log.remove(entry.operation_id, event)
                report.finished += 1

    async def _move(
        self, operation_id: str, ended_before: datetime, requested_by: str | None
    ) -> _Named | ArchivedOperation | str:
        """Archive one operation; or say what would become of it, or why it stays. Nothing is removed yet."""
        whole = await self._read(operation_id, ended_before)
        if isinstance(whole, str):
            return whole
        if requested_by is None:
            return ArchivedOperation(operation_id, len(whole.events), 0)
        return await self._name(whole, requested_by) or "somebody wrote to it at the same moment"

    async def _read(self, operation_id: str, ended_before: datetime) -> _Whole | str:
        """Return what is to be archived, or why it is not: decided on the log alone."""
        events: list[StoredEvent] = []
        end: LogEntry | None = None
        state: Operation | None = None
        newest_at = ended_before
        async with closing_iterator(self._event_log.stored(operation_id)) as stored_events:
            async for stored in stored_events:
                events.append(stored)
                entry = read_entry(stored)
                if not isinstance(entry, LogEntry):
                    return f"the event at sequence {stored.sequence} cannot be read"
                if isinstance(entry.event, TERMINAL_EVENTS):
                    end = entry
                state, newest_at = evolve(state, recorded(entry)), entry.envelope.time
        if not isinstance(state, TERMINAL) or end is None:
            return "it has not ended"
        if state.ended_at >= ended_before or newest_at >= ended_before:
            return "something happened to it later"
        if any(each.status is CheckpointStatus.SAVED for each in state.facts.checkpoints.values()):
            return "a checkpoint of it is not on record yet"
        return _Whole(state, events, end)

    async def _name(self, found: _Whole, requested_by: str) -> _Named | None:
        """Put the file into the store, then its name into the log; None when somebody else wrote first."""
        facts = found.state.facts
        archived = await in_thread(
            self._archive.put,
            facts.operation_id,
            found.events,
            end=found.end,
            source=self._prefix,
            requested_by=requested_by,
        )
        try:
            sequence = await self._appender.append(
                facts.operation_id,
                archived,
                event_id=event_id_of(facts.operation_id, Archived.NAME, archived.last_sequence),
                root_id=facts.requested.root_id,
                causation_id=None,
                expected_sequence=facts.control_sequence,
            )
        except SequenceConflictError:
            return None
        return _Named(archived, sequence)

    async def _remove(self, named: Mapping[str, _Named], report: ArchiveReport) -> None:
        if not named:
            return
        await self._followed(max(each.sequence for each in named.values()))
        for operation_id, archived in ((key, each.archived) for key, each in named.items()):
            report.events_removed += await self._archive_log.remove(operation_id, archived)
            report.archived.append(ArchivedOperation(operation_id, archived.events, archived.size_bytes))
            log.info("archived", operation_id=operation_id, events=archived.events)

    async def _followed(self, sequence: int) -> None:
        """Wait until the read models, and whoever acts on events, have everything up to ``sequence``."""
        waited = 0.0
        while True:
            cursor, handled = await self._read_model.cursor(), await self._archive_log.handled_to()
            if cursor >= sequence and (handled is None or handled >= sequence):
                return
            if waited >= FOLLOWED_SECONDS:
                raise ProjectionBehindError(
                    f"read models at {cursor}, effects at {handled}, log at {sequence}"
                )
            await asyncio.sleep(FOLLOWED_PAUSE_SECONDS)  # another process has no event to await
            waited += FOLLOWED_PAUSE_SECONDS
