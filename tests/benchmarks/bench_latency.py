"""What a client waits for: command to verdict, and how far the read models are behind a busy log.

A whole orchestrator in a process of its own. Lag is taken from outside: each event's time of appending next to the
first look at the cursor in Postgres that is at or past it, one look every other millisecond.
"""

import asyncio
import bisect
import tempfile
from pathlib import Path

import asyncpg
from milepost_contracts.commands import CancelOperation, StartOperation
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.fleet import NatsKindCatalogue
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import EventLog

from tests.benchmarks.bench_operations import _p50, _p95
from tests.benchmarks.bench_projector import append_event, progress_of
from tests.orchestrator.stories import claimed, requested, started
from tests.orchestrator.workshop import COUNTER
from tests.support.harness import Harness, open_harness

Row = tuple[str, float, str]
COMMANDS = 300
EVENTS_PER_SECOND = 1_000
LAG_SECONDS = 15
OPERATIONS = 50
LOOK_SECONDS = 0.002
WAIT_SECONDS = 60.0
CURSOR = "SELECT sequence FROM projection_cursor"


async def measure(endpoints: StackEndpoints) -> list[Row]:
    """Measure commands one after another, then a log that grows by a thousand events a second."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_harness(endpoints, Path(directory)) as harness:
            await harness.services.orchestrator()
            await NatsKindCatalogue(harness.connection, endpoints.bus).announce(COUNTER)
            await harness.start("counter", {"units": 10})  # everything is warm after this
            requests, published = await _verdicts(harness)
            lags, rate = await _lags(harness.event_log, endpoints)
    return [
        ("start, request to verdict, p50", _p50(requests) * 1000, "ms"),
        ("start, request to verdict, p95", _p95(requests) * 1000, "ms"),
        ("cancel, published to verdict, p50", _p50(published) * 1000, "ms"),
        ("cancel, published to verdict, p95", _p95(published) * 1000, "ms"),
        ("appended for the lag", rate, "events/s"),
        ("append to read model, p50", _p50(lags) * 1000, "ms"),
        ("append to read model, p95", _p95(lags) * 1000, "ms"),
        ("append to read model, worst", max(lags) * 1000, "ms"),
    ]


async def _verdicts(harness: Harness) -> tuple[list[float], list[float]]:
    clock = SystemClock()
    requests: list[float] = []
    published: list[float] = []
    for _ in range(COMMANDS):
        begun = clock.monotonic_seconds()
        answer = await harness.client.request(StartOperation(kind="counter", spec={"units": 10}))
        requests.append(clock.monotonic_seconds() - begun)
        begun = clock.monotonic_seconds()
        command_id = await harness.client.publish(CancelOperation(operation_id=answer.operation_id or ""))
        await harness.client.verdict(command_id)
        published.append(clock.monotonic_seconds() - begun)
    return requests, published


async def _lags(event_log: EventLog, endpoints: StackEndpoints) -> tuple[list[float], float]:
    clock = SystemClock()
    appended: list[tuple[int, float]] = []
    looks: list[tuple[int, float]] = []
    postgres = await asyncpg.connect(endpoints.database_url.replace("+asyncpg", ""))
    last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    looking = asyncio.create_task(_look(postgres, looks, clock, last))
    try:
        begun = clock.monotonic_seconds()
        each = EVENTS_PER_SECOND * LAG_SECONDS // OPERATIONS
        tellers = (_tell(event_log, number, each, appended, clock) for number in range(OPERATIONS))
        await asyncio.gather(*tellers)
        rate = len(appended) / (clock.monotonic_seconds() - begun)
        last.set_result(max(sequence for sequence, _ in appended))
        await asyncio.wait_for(looking, WAIT_SECONDS)
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        await postgres.close()
    sequences = [sequence for sequence, _ in looks]
    seen = [(at, looks[bisect.bisect_left(sequences, sequence)][1]) for sequence, at in appended]
    return [looked - at for at, looked in seen], rate


async def _look(
    postgres: asyncpg.Connection,
    looks: list[tuple[int, float]],
    clock: SystemClock,
    last: asyncio.Future[int],
) -> None:
    """Look until the last event is there, once it is known which that is."""
    while not last.done() or looks[-1][0] < last.result():
        looks.append((await postgres.fetchval(CURSOR), clock.monotonic_seconds()))
        await asyncio.sleep(LOOK_SECONDS)  # from outside there is nothing to await


async def _tell(
    event_log: EventLog, number: int, events: int, appended: list[tuple[int, float]], clock: SystemClock
) -> None:
    """Append one operation's events at their times; note when each one's appending began."""
    operation_id = f"op-lag-{number}"
    await append_event(event_log, operation_id, requested(operation_id), "0", 0)
    last, begun = 0, clock.monotonic_seconds()
    for index, event in enumerate([claimed(), started(), *map(progress_of, range(1, events + 1))], 1):
        due = begun + index * OPERATIONS / EVENTS_PER_SECOND
        await asyncio.sleep(max(due - clock.monotonic_seconds(), 0))
        at = clock.monotonic_seconds()
        last = await append_event(event_log, operation_id, event, str(index), last)
        appended.append((last, at))
