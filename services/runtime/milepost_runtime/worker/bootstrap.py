"""Compose a worker from its settings; nothing is connected before this is called."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.drains import NatsDrains
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsFleet, NatsKindCatalogue
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.clock import SystemClock
from milepost_runtime.settings import BusSettings, StoreSettings
from milepost_runtime.store.s3 import S3ArtifactStore
from milepost_runtime.worker.host import HostPorts, WorkerHost
from milepost_runtime.worker.kind import WorkerKind
from milepost_runtime.worker.kinds import load_kind
from milepost_runtime.worker.ports import AttemptPorts
from milepost_runtime.worker.preparation import Preparation
from milepost_runtime.worker.settings import WorkerSettings


@asynccontextmanager
async def open_worker(
    settings: WorkerSettings, bus: BusSettings, store: StoreSettings, kind: WorkerKind | None = None
) -> AsyncGenerator[WorkerHost]:
    """Yield a connected worker host; the connection is drained at the end."""
    kind = kind or load_kind(settings.kind)
    connection = await connect(bus, name=f"worker {settings.worker_id}")
    try:
        await ensure_topology(connection, bus)
        await ensure_work_consumer(connection, bus, kind.name, lease_seconds=settings.lease_seconds)
        artifacts = S3ArtifactStore(store)
        yield WorkerHost(
            kind,
            HostPorts(
                work_queue=JetStreamWorkQueue(connection, bus),
                fleet=NatsFleet(connection, bus),
                catalogue=NatsKindCatalogue(connection, bus),
                drains=NatsDrains(connection, bus),
            ),
            AttemptPorts(
                event_log=JetStreamEventLog(connection, bus),
                signals=NatsSignals(connection, bus),
                store=artifacts,
                preparation=Preparation(artifacts, settings.directory / "inputs"),
                clock=SystemClock(),
                settings=settings,
                default_policy=kind.default_checkpoint_policy,
            ),
        )
    finally:
        await connection.close()
