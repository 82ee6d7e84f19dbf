"""Compose an orchestrator from its settings; nothing is connected before ``open_orchestrator``."""

import os
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from milepost_runtime.bus.archive_log import JetStreamArchiveLog
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsFleet, NatsKindCatalogue
from milepost_runtime.bus.record_log import JetStreamRecordLog
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.bus.work_gate import JetStreamWorkGate
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock, random_id
from milepost_runtime.errors import SettingsError
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.history.archived_log import ArchivedEventLog
from milepost_runtime.settings import BusSettings, StoreSettings
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.store.s3 import S3ArtifactStore
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.bus_state import JetStreamBusState
from milepost_orchestrator.adapters.curves import PostgresCurves
from milepost_orchestrator.adapters.database import create_engine
from milepost_orchestrator.adapters.durable_consumer import DurableConsumer
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.adapters.read_model import PostgresReadModel
from milepost_orchestrator.adapters.readiness import ReadinessChecks
from milepost_orchestrator.adapters.references import PostgresReferences
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.adapters.sparklines import PostgresSparklines
from milepost_orchestrator.adapters.storage_statistics import PostgresStorageStatistics
from milepost_orchestrator.adapters.system_rows import PostgresSystemRows
from milepost_orchestrator.adapters.verdicts import VerdictPublisher
from milepost_orchestrator.adapters.waymarks import PostgresWaymarks
from milepost_orchestrator.application.alarms import Alarms
from milepost_orchestrator.application.attention import Attention
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.curves import Curves
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.effects import Appender, Effects
from milepost_orchestrator.application.entrance import CommandEntrance
from milepost_orchestrator.application.fleet_view import FleetView
from milepost_orchestrator.application.history import History
from milepost_orchestrator.application.janitor import Janitor, JanitorSettings
from milepost_orchestrator.application.live import LiveFeed
from milepost_orchestrator.application.model_pinning import ModelPinning
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.orphans import OrphanSweep
from milepost_orchestrator.application.parking import Admission, Parking
from milepost_orchestrator.application.past import Past
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.quarantine import Quarantine
from milepost_orchestrator.application.queries import Queries
from milepost_orchestrator.application.reactor import REACTOR_EVENTS, Reactor
from milepost_orchestrator.application.registrar import REGISTRAR_EVENTS, Registrar
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.application.sightings import Sightings
from milepost_orchestrator.application.sparklines import Sparklines
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.application.sweeper import Sweeper
from milepost_orchestrator.application.system_view import SystemView
from milepost_orchestrator.application.timekeeper import Timekeeper
from milepost_orchestrator.application.trained_models import TrainedModels
from milepost_orchestrator.application.upkeep import Upkeep
from milepost_orchestrator.collection import collect_rarely
from milepost_orchestrator.janitor_settings import GRACE_SECONDS, janitor_settings, orphan_grace_seconds
from milepost_orchestrator.stall_settings import stall_settings

SWEEP_SECONDS = 10.0
PARALLEL_MAX = 4
VERIFIED_MAX = 100_000
"""Digests that the registrar has read once and does not read again: segments that many checkpoints share."""


@dataclass(frozen=True, slots=True)
class OrchestratorSettings:
    """Where everything is, and how often it looks."""

    bus: BusSettings
    store: StoreSettings
    database: DatabaseSettings
    orchestrator_id: str
    sweep_seconds: float = SWEEP_SECONDS
    orphan_grace_seconds: float = GRACE_SECONDS
    janitor: JanitorSettings = field(default_factory=JanitorSettings)
    stall_seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """By kind: how long an operation may go without a word of its worker; ``*`` for all others."""

    def __post_init__(self) -> None:
        if self.sweep_seconds <= 0:
            raise SettingsError(f"MILEPOST_SWEEP_SECONDS must be more than 0, not {self.sweep_seconds}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_NATS_URL, _PREFIX, _S3_*, _DATABASE_URL, _SWEEP_SECONDS, _RETENTION_* and _ORPHAN_*."""
        seconds = environment.get("MILEPOST_SWEEP_SECONDS", str(SWEEP_SECONDS))
        try:
            sweep_seconds = float(seconds)
        except ValueError as error:
            raise SettingsError(f"MILEPOST_SWEEP_SECONDS must be a number, not {seconds!r}") from error
        return cls(
            bus=BusSettings.from_environment(environment),
            store=StoreSettings.from_environment(environment),
            database=DatabaseSettings.from_environment(environment),
            orchestrator_id=random_id("o")[:10],
            sweep_seconds=sweep_seconds,
            orphan_grace_seconds=orphan_grace_seconds(environment),
            janitor=janitor_settings(environment),
            stall_seconds=stall_settings(environment),
        )


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """Everything composed; its loops run for ever once they are started."""

    settings: OrchestratorSettings
    connection: BusConnection
    engine: AsyncEngine
    handler: CommandHandler
    entrance: CommandEntrance
    verdicts: VerdictPublisher
    effects: Effects
    alarms: Alarms
    """When the deadlines of cancels are over."""
    dispatching: Dispatching
    schedules: Schedules
    timers: Alarms
    """When schedules are due."""
    timekeeper: Timekeeper
    reactor: DurableConsumer
    registrar: DurableConsumer
    projector: Projector
    live: LiveFeed
    fleet: FleetView
    sweeper: Sweeper
    parking: Parking
    queries: Queries
    sightings: Sightings
    history: History
    readiness: ReadinessChecks
    curves: Curves
    sparklines: Sparklines
    store: ArtifactStore
    storage: PostgresStorageStatistics
    orphans: OrphanSweep
    janitor: Janitor
    system: SystemView


@asynccontextmanager
async def open_orchestrator(settings: OrchestratorSettings) -> AsyncGenerator[Orchestrator]:
    """Yield a composed orchestrator; connections are closed at the end.

    The bus must answer; the database and the store may be away and are then waited for by those who need them.

    Raises:
        BusUnavailableError, BusPermissionError, TopologyError: the bus is away, or not as it must be.
    """
    collect_rarely()
    async with AsyncExitStack() as resources:
        connection = await connect(settings.bus, name=f"orchestrator {settings.orchestrator_id}")
        resources.push_async_callback(connection.close)
        await ensure_topology(connection, settings.bus)
        engine = create_engine(settings.database)
        resources.push_async_callback(engine.dispose)
        store = S3ArtifactStore(settings.store)
        resources.callback(store.close)
        spool_directory = resources.enter_context(tempfile.TemporaryDirectory(prefix="milepost-o-"))
        yield _compose(settings, connection, engine, store, Path(spool_directory))


def _compose(
    settings: OrchestratorSettings,
    connection: BusConnection,
    engine: AsyncEngine,
    store: S3ArtifactStore,
    spool_directory: Path,
) -> Orchestrator:
    archive = HistoryArchive(store)
    event_log = ArchivedEventLog(JetStreamEventLog(connection, settings.bus), archive)
    signals = NatsSignals(connection, settings.bus)
    work_queue = JetStreamWorkQueue(connection, settings.bus)
    operations = Operations(event_log)
    appender = Appender(event_log, SystemClock(), f"/orchestrator/{settings.orchestrator_id}")
    alarms = Alarms(SystemClock())
    records = JetStreamRecordLog(connection, settings.bus)
    fleet = NatsFleet(connection, settings.bus)
    dispatching = Dispatching(
        records,
        JetStreamWorkGate(connection, settings.bus),
        fleet,
        SystemClock(),
        f"/orchestrator/{settings.orchestrator_id}",
    )
    read_model = PostgresReadModel(engine)
    effects = Effects(operations, appender, work_queue, signals, store, alarms, Admission(fleet))
    live = LiveFeed()
    sightings = Sightings(fleet)
    models = ModelPinning(TrainedModels(operations, read_model, store))
    specs = SpecResolver(NatsKindCatalogue(connection, settings.bus), DatasetCatalogue(store), models)
    orphans = OrphanSweep(
        store,
        event_log,
        PostgresReferences(engine),
        tenant=settings.bus.prefix,
        grace_seconds=settings.orphan_grace_seconds,
    )
    timers = Alarms(SystemClock())
    schedules = Schedules(records, specs, SystemClock(), timers, f"/orchestrator/{settings.orchestrator_id}")
    handler = CommandHandler(operations, appender, effects, specs, store, dispatching, schedules, read_model)
    service = CheckpointService(store, Spool(spool_directory), verified_max=VERIFIED_MAX)
    return Orchestrator(
        settings=settings,
        connection=connection,
        engine=engine,
        handler=handler,
        entrance=CommandEntrance(handler),
        verdicts=VerdictPublisher(connection, settings.bus),
        effects=effects,
        alarms=alarms,
        dispatching=dispatching,
        schedules=schedules,
        timers=timers,
        timekeeper=Timekeeper(schedules, handler, SystemClock()),
        reactor=DurableConsumer(
            connection,
            settings.bus,
            name="reactor",
            events=REACTOR_EVENTS,
            handle=Reactor(effects).handle,
            parallel_max=PARALLEL_MAX,
        ),
        registrar=DurableConsumer(
            connection,
            settings.bus,
            name="registrar",
            events=REGISTRAR_EVENTS,
            handle=Registrar(operations, appender, service).handle,
            parallel_max=PARALLEL_MAX,
        ),
        projector=Projector(
            event_log,
            PostgresProjectionStore(engine),
            listener=live,
            archived=JetStreamArchiveLog(connection, settings.bus, archive),
        ),
        live=live,
        fleet=FleetView(fleet, SystemClock()),
        sweeper=Sweeper(
            read_model,
            operations,
            appender,
            effects,
            work_queue,
            signals,
            interval_seconds=settings.sweep_seconds,
        ),
        parking=Parking(read_model, operations, work_queue, fleet),
        queries=Queries(
            read_model,
            operations,
            fleet,
            dispatching,
            Attention(event_log, sightings, SystemClock(), settings.stall_seconds),
        ),
        sightings=sightings,
        history=History(event_log, Past(event_log, PostgresWaymarks(engine), SystemClock())),
        readiness=ReadinessChecks(connection, settings.bus, engine, store),
        curves=Curves(PostgresCurves(engine)),
        sparklines=Sparklines(PostgresSparklines(engine), SystemClock()),
        store=store,
        storage=PostgresStorageStatistics(engine),
        orphans=orphans,
        janitor=Janitor(handler, orphans, settings.janitor),
        system=SystemView(
            JetStreamBusState(connection, settings.bus),
            PostgresSystemRows(engine),
            Quarantine(event_log, PostgresProjectionStore(engine)),
            dispatching,
            schedules,
            Upkeep(records, SystemClock(), f"/orchestrator/{settings.orchestrator_id}"),
        ),
    )
