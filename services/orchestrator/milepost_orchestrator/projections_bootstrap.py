"""Compose what looks after read models from outside of an orchestrator: rebuild, verify, quarantine."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from milepost_runtime.bus.archive_log import JetStreamArchiveLog
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.record_log import JetStreamRecordLog
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import EventLog
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.history.archived_log import ArchivedEventLog
from milepost_runtime.settings import BusSettings, StoreSettings
from milepost_runtime.store.s3 import S3ArtifactStore
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.archive_read_model import PostgresArchiveReadModel
from milepost_orchestrator.adapters.database import create_engine, migrate
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.adapters.quarantine_reading import quarantined_events
from milepost_orchestrator.adapters.rebuild_space import open_rebuild_space, rebuilds_held
from milepost_orchestrator.adapters.recorded_objects import recorded_artifacts, recorded_manifests
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.archiving import Archiver, ArchiveReport
from milepost_orchestrator.application.effects import Appender
from milepost_orchestrator.application.quarantine import Quarantine, Quarantined, Retried
from milepost_orchestrator.application.rebuilding import Rebuild, RebuildProgress, RebuildReport
from milepost_orchestrator.application.store_check import missing_in_store
from milepost_orchestrator.application.system_view import redeliver
from milepost_orchestrator.application.upkeep import Upkeep
from milepost_orchestrator.collection import collect_rarely


@dataclass(frozen=True, slots=True)
class ProjectionSettings:
    """Where everything is."""

    bus: BusSettings
    store: StoreSettings
    database: DatabaseSettings


@dataclass(frozen=True, slots=True)
class Projections:
    """The read models of one tenant, to be looked after."""

    settings: ProjectionSettings
    event_log: EventLog
    engine: AsyncEngine
    store: S3ArtifactStore
    quarantine: Quarantine
    upkeep: Upkeep
    archive_log: JetStreamArchiveLog

    async def rebuild(self, tell: Callable[[RebuildProgress], None], *, swap: bool) -> RebuildReport:
        """Rebuild the read models and compare them; see ``application.rebuilding``."""
        async with open_rebuild_space(self.settings.database) as space:
            rebuild = Rebuild(self.event_log, space, SystemClock(), tell, archived=self.archive_log)
            return await rebuild.run(swap=swap)

    async def archive(
        self,
        ended_before: datetime,
        *,
        requested_by: str,
        dry_run: bool = False,
        tell: Callable[[ArchiveReport], None] = lambda _: None,
    ) -> ArchiveReport:
        """Archive operations that ended before a time; see ``application.archiving``."""
        archiver = Archiver(
            self.event_log,
            self.archive_log,
            HistoryArchive(self.store),
            PostgresArchiveReadModel(self.engine),
            Appender(self.event_log, SystemClock(), requested_by),
            prefix=self.settings.bus.prefix,
        )
        async with rebuilds_held(self.engine, self.settings.database):
            return await archiver.run(ended_before, requested_by=requested_by, dry_run=dry_run, tell=tell)

    async def redeliver(self, operation_id: str | None, requested_by: str) -> Sequence[Retried]:
        """Try again what was set aside; see ``application.system_view``."""
        return await redeliver(self.quarantine, self.upkeep, operation_id, requested_by)

    async def quarantined(self, limit: int) -> list[Quarantined]:
        """Return events in quarantine, in the order of the log."""
        return await quarantined_events(self.engine, limit=limit)

    async def missing_in_store(self) -> AsyncIterator[str]:
        """Yield in words what is on record and not in the store."""
        manifests = await recorded_manifests(self.engine)
        artifacts = await recorded_artifacts(self.engine)
        async for words in missing_in_store(self.store, manifests, artifacts):
            yield words


@asynccontextmanager
async def open_projections(settings: ProjectionSettings) -> AsyncGenerator[Projections]:
    """Yield the read models; connections are closed at the end.

    Raises:
        BusUnavailableError, DatabaseUnavailableError, DatabaseRefusedError: one does not answer, or refuses.
    """
    collect_rarely()
    async with AsyncExitStack() as resources:
        connection = await connect(settings.bus, name="projections")
        resources.push_async_callback(connection.close)
        engine = create_engine(settings.database)
        resources.push_async_callback(engine.dispose)
        await migrate(engine, settings.database)
        store = S3ArtifactStore(settings.store)
        resources.callback(store.close)
        archive = HistoryArchive(store)
        event_log = ArchivedEventLog(JetStreamEventLog(connection, settings.bus), archive)
        archive_log = JetStreamArchiveLog(connection, settings.bus, archive)
        quarantine = Quarantine(event_log, PostgresProjectionStore(engine))
        upkeep = Upkeep(JetStreamRecordLog(connection, settings.bus), SystemClock(), "/projections")
        yield Projections(settings, event_log, engine, store, quarantine, upkeep, archive_log)
