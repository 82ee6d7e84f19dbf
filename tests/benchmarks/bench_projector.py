"""Projected events per second of one projector, next to merely reading and decoding the same events.

Run it alone: ``python -m tests.benchmarks.run projector``. One process, one transaction a batch, cursor included.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from milepost_contracts.commands import RunOptions
from milepost_contracts.events import Claimed, Event, Progress, Requested, Started
from milepost_contracts.messages import envelop_event
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.database import create_engine, migrate
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.clock import SystemClock

Row = tuple[str, float, str]
OPERATIONS = 100
PROGRESS = 300
EVENTS = OPERATIONS * (PROGRESS + 3)
BATCHES = (500, 4000)


async def measure(endpoints: StackEndpoints) -> list[Row]:
    """Measure on a log of 100 operations with 300 progress events each."""
    connection = await connect(endpoints.bus, name="bench")
    try:
        await ensure_topology(connection, endpoints.bus)
        event_log = JetStreamEventLog(connection, endpoints.bus)
        await asyncio.gather(*(_tell(event_log, number) for number in range(OPERATIONS)))
        rows = [("read and decode only", EVENTS / await _read(event_log), "events/s")]
        rows.append(("fold into rows only", EVENTS / await _fold(event_log), "events/s"))
        for batch in BATCHES:
            seconds = await _project(event_log, endpoints, batch)
            rows.append((f"projected into Postgres, batches of {batch}", EVENTS / seconds, "events/s"))
        rows.append(("projected, of merely read", 100 * rows[-1][1] / rows[0][1], "%"))
    finally:
        await connection.close()
    return rows


async def main(endpoints: StackEndpoints) -> list[Row]:
    """Measure, as the runner calls it."""
    return await measure(endpoints)


async def _tell(event_log: JetStreamEventLog, number: int) -> None:
    operation_id = f"op-{number}"
    requested = Requested(
        kind="counter", spec={"units": PROGRESS}, options=RunOptions(), root_id=operation_id
    )
    claimed = Claimed(attempt=1, worker_id="w-1", host="h", pid=1, lease_seconds=10.0)
    started = Started(attempt=1, unit=0, total_units=PROGRESS, unit_name="step")
    last = 0
    await append_event(event_log, operation_id, requested, "0", 0)
    for index, event in enumerate([claimed, started, *map(progress_of, range(1, PROGRESS + 1))], 1):
        last = await append_event(event_log, operation_id, event, str(index), last)


def progress_of(unit: int) -> Progress:
    return Progress(
        attempt=1, unit=unit, total_units=PROGRESS, units_per_second=100.0, metrics={"equity": float(unit)}
    )


async def append_event(
    event_log: JetStreamEventLog, operation_id: str, event: Event, name: str, expected_sequence: int
) -> int:
    envelope = envelop_event(
        event,
        event_id=f"{operation_id}-{name}",
        operation_id=operation_id,
        source="/bench",
        time=SystemClock().now(),
    )
    return await event_log.append(envelope, type(event), expected_sequence=expected_sequence)


async def _read(event_log: JetStreamEventLog) -> float:
    clock = SystemClock()
    begin = clock.monotonic_seconds()
    async with _batches(event_log) as batches:
        async for batch in batches:
            if batch[-1].sequence >= EVENTS:
                break
    return clock.monotonic_seconds() - begin


async def _fold(event_log: JetStreamEventLog) -> float:
    clock = SystemClock()
    entries = [entry async for entry in event_log.read_range(1)]
    cache = StateCache()
    begin = clock.monotonic_seconds()
    for first in range(0, len(entries), BATCHES[-1]):
        project(cache, entries[first : first + BATCHES[-1]])
    return clock.monotonic_seconds() - begin


async def _project(event_log: JetStreamEventLog, endpoints: StackEndpoints, batch: int) -> float:
    clock = SystemClock()
    settings = DatabaseSettings(endpoints.database_url, schema=f"bench_{batch}")
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        projector = Projector(event_log, PostgresProjectionStore(engine), batch_entries_max=batch)
        begin = clock.monotonic_seconds()
        running = asyncio.create_task(projector.run())
        reached = asyncio.create_task(projector.reached(EVENTS))
        await asyncio.wait({running, reached}, return_when=asyncio.FIRST_COMPLETED)
        seconds = clock.monotonic_seconds() - begin
        if running.done():
            await running
        running.cancel()
        await asyncio.wait({running})
    finally:
        await engine.dispose()
    return seconds


@asynccontextmanager
async def _batches(event_log: JetStreamEventLog) -> AsyncIterator:
    batches = event_log.tail_batches(entries_max=BATCHES[-1])
    try:
        yield batches
    finally:
        await batches.aclose()
