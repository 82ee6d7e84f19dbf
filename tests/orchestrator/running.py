"""A whole orchestrator in the test's own process, on a tenant of the real stack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.commands import ResumeOperation, StartOperation
from milepost_contracts.datasets import Dataset
from milepost_contracts.events import Event, Side
from milepost_contracts.messages import envelop_event
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.janitor import REASON, JanitorSettings
from milepost_orchestrator.bootstrap import Orchestrator, OrchestratorSettings, open_orchestrator
from milepost_orchestrator.entrypoints.http_settings import HttpSettings
from milepost_orchestrator.entrypoints.service import Service
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsKindCatalogue
from milepost_runtime.client import MilepostClient
from milepost_runtime.clock import random_id
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.s3 import S3ArtifactStore
from sqlalchemy import text

from tests.orchestrator.stories import EPOCH, STATE
from tests.orchestrator.workshop import COUNTER, dataset

WAIT_SECONDS = 30.0


@dataclass
class Running:
    """One running orchestrator with clients at hand."""

    orchestrator: Orchestrator
    service: Service
    http: httpx.AsyncClient
    client: MilepostClient
    event_log: JetStreamEventLog
    store: S3ArtifactStore
    directory: Path

    async def rows(self, query: str, **parameters: object) -> list[dict]:
        """What a query finds in the read models, once they are up to date."""
        await self.projected()
        async with self.orchestrator.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(query), parameters)).mappings()]

    async def projected(self) -> int:
        """Wait until everything in the log is in the read models; return the newest sequence."""
        found = await self.orchestrator.readiness.check()
        assert found.ready, found
        async with asyncio.timeout(WAIT_SECONDS):
            await self.orchestrator.projector.reached(found.last_sequence)
        return found.last_sequence

    async def happen(self, operation_id: str, *events: Event) -> int:
        """Append events as their writer would; return the last one's sequence."""
        sequence = 0
        for event in events:
            sequence = await self._append(operation_id, event)
        return sequence

    async def _append(self, operation_id: str, event: Event) -> int:
        """Append one event, again where the orchestrator itself wrote to its side meanwhile."""
        envelope = envelop_event(
            event, event_id=random_id("ev"), operation_id=operation_id, source="/worker/w-1", time=EPOCH
        )
        while True:
            last = await self.event_log.last_sequence(operation_id, event.SIDE)
            try:
                return await self.event_log.append(envelope, type(event), expected_sequence=last)
            except SequenceConflictError:
                if event.SIDE is not Side.CONTROL:
                    raise

    async def until(self, operation_id: str, *types: type[Event], after_sequence: int = 0) -> LogEntry:
        """Wait for an event of one of the types."""
        async with asyncio.timeout(WAIT_SECONDS):
            async for entry in self.event_log.tail(operation_id=operation_id, after_sequence=after_sequence):
                if isinstance(entry.event, types):
                    return entry
        raise AssertionError("the tail ended")

    async def start(self, command_id: str | None = None, **fields: object) -> str:
        """Start a counter and return its id."""
        values = {"kind": "counter", "spec": {"units": 100}, **fields}
        verdict = await self.client.request(StartOperation.model_validate(values), command_id=command_id)
        assert verdict.verdict == "accepted", verdict
        return verdict.operation_id

    async def resume(self, operation_id: str, command_id: str | None = None):
        return await self.client.request(ResumeOperation(operation_id=operation_id), command_id=command_id)

    async def keep_state(self, content: bytes = STATE) -> None:
        """Put the artifact of ``stories.snapshot`` into the store."""
        await asyncio.to_thread(self._put, content, "state.json")

    async def add_dataset(self, name: str = "aapl") -> Dataset:
        """Put a dataset into the catalogue."""
        entry = dataset(name)
        await asyncio.to_thread(self._put, b"bars", entry.artifact.name)
        await asyncio.to_thread(DatasetCatalogue(self.store).put, entry)
        return entry

    def _put(self, content: bytes, name: str) -> None:
        path = self.directory / name
        path.write_bytes(content)
        self.store.put_file(path, name=name, media_type="application/json")


def settings_of(
    tenant: StackEndpoints,
    *,
    schema: str = "public",
    sweep_seconds: float = 60.0,
    janitor: JanitorSettings | None = None,
) -> OrchestratorSettings:
    return OrchestratorSettings(
        bus=tenant.bus,
        store=tenant.store,
        database=DatabaseSettings(tenant.database_url, schema=schema),
        orchestrator_id=random_id("o")[:10],
        sweep_seconds=sweep_seconds,
        janitor=janitor or JanitorSettings(),
    )


@asynccontextmanager
async def run_orchestrator(
    tenant: StackEndpoints,
    directory: Path,
    *,
    token: str | None = None,
    reader_token: str | None = None,
    tokens_file: Path | None = None,
    http_port: int = 0,
    sweep_seconds: float = 60.0,
    retention_seconds: float | None = None,
) -> AsyncIterator[Running]:
    """Yield a running orchestrator; it must stop cleanly."""
    janitor = JanitorSettings()
    if retention_seconds is not None:
        janitor = JanitorSettings(CleanUpCheckpoints(keep_newest=1, reason=REASON), retention_seconds)
    settings = settings_of(tenant, sweep_seconds=sweep_seconds, janitor=janitor)
    async with open_orchestrator(settings) as orchestrator:
        http_settings = HttpSettings(
            port=http_port, token=token, reader_token=reader_token, tokens_file=tokens_file
        )
        service = Service(orchestrator, http_settings)
        running = asyncio.create_task(service.run())
        await asyncio.wait({running, service.http_port}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        connection = orchestrator.connection
        await NatsKindCatalogue(connection, tenant.bus).announce(COUNTER)
        base_url = f"http://127.0.0.1:{service.http_port.result()}"
        async with (
            MilepostClient.connect(tenant.bus, source="/test") as client,
            httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=WAIT_SECONDS, verify=False) as http,
        ):
            store = S3ArtifactStore(tenant.store)
            async with asyncio.timeout(WAIT_SECONDS):
                await orchestrator.projector.begun()  # so the tables are there
                while not (await orchestrator.readiness.check()).ready:
                    pass
            try:
                yield Running(
                    orchestrator,
                    service,
                    http,
                    client,
                    JetStreamEventLog(connection, tenant.bus),
                    store,
                    directory,
                )
            finally:
                store.close()
                service.stop()
                await running
