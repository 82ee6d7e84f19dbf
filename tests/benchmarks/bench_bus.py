"""The bus: appends, and reading with our own pull next to nats-py's ``fetch`` and to no decoding at all."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

import nats
from milepost_contracts.events import Claimed, Completed, Event, Progress, Side
from milepost_contracts.examples import EVENT_EXAMPLES
from milepost_contracts.messages import decode, envelop_event
from milepost_contracts.upcasting import decode_event
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.topology import Topology, ensure_topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.clock import SystemClock
from milepost_runtime.settings import BusSettings
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey

from tests.support.stack import chosen_stack, fresh_tenant

Row: TypeAlias = tuple[str, float, str]
EVENTS_ONE_BY_ONE = 3_000
EVENTS = 50_000
OPERATIONS = 100
FETCHED = 20_000
FETCH_BATCH = 500
ROUNDS = 200


async def measure(tenant: StackEndpoints) -> list[Row]:
    """Return the figures of one run against the tenant's bus."""
    connection = await connect(tenant.bus, name="benchmark")
    try:
        await ensure_topology(connection, tenant.bus)
        log = JetStreamEventLog(connection, tenant.bus)
        return [
            *await measure_append(log),
            *await measure_reading(connection, tenant.bus, log),
            *await measure_operation(log),
            *await measure_work(connection, tenant.bus),
            *await measure_signal(connection, tenant.bus),
        ]
    finally:
        await connection.close()


async def measure_append(log: JetStreamEventLog) -> list[Row]:
    """Append one after another, and of many operations at once; leaves ``EVENTS`` events in the log."""
    began = time.perf_counter()
    await _append(log, "op-one", EVENTS_ONE_BY_ONE)
    alone = EVENTS_ONE_BY_ONE / (time.perf_counter() - began)
    each = (EVENTS - EVENTS_ONE_BY_ONE) // OPERATIONS
    began = time.perf_counter()
    await asyncio.gather(*(_append(log, f"op-{number}", each) for number in range(OPERATIONS)))
    together = each * OPERATIONS / (time.perf_counter() - began)
    return [
        ("append, one operation, each awaited", alone, "events/s"),
        (f"append, {OPERATIONS} operations at once", together, "events/s"),
    ]


async def measure_reading(
    connection: BusConnection, settings: BusSettings, log: JetStreamEventLog
) -> list[Row]:
    """Read the same stream in four ways."""
    stream = Topology(settings).events
    count = (EVENTS - EVENTS_ONE_BY_ONE) // OPERATIONS * OPERATIONS + EVENTS_ONE_BY_ONE
    raw = await _rate(count, lambda: _read_raw(connection, settings, stream, count))
    decoded = await _rate(count, lambda: _read_decoded(log, count))
    fetched = await _rate(FETCHED, lambda: _fetch(settings, stream, FETCHED, decoding=False))
    fetched_decoded = await _rate(FETCHED, lambda: _fetch(settings, stream, FETCHED, decoding=True))
    return [
        ("read, own pull", raw, "events/s"),
        ("read and decode, own pull", decoded, "events/s"),
        ("read, nats-py fetch()", fetched, "events/s"),
        ("read and decode, nats-py fetch()", fetched_decoded, "events/s"),
        ("own pull over fetch(), read only", raw / fetched, "times"),
        ("own pull over fetch(), with decoding", decoded / fetched_decoded, "times"),
    ]


async def measure_operation(log: JetStreamEventLog) -> list[Row]:
    """Load one operation for a decision: what must not grow with its progress."""
    last = await log.last_sequence("op-one", Side.RUN)
    event = decode_event(EVENT_EXAMPLES[Completed.type_name()])
    await log.append(_envelope(event, "op-one", 0), Completed, expected_sequence=last)
    name = f"of {EVENTS_ONE_BY_ONE:,} progress events"
    return [
        (f"load an operation {name}, without them", await _median(_loading(log)), "ms"),
        ("newest sequence of one side", await _median(lambda: log.last_sequence("op-one", Side.RUN)), "ms"),
    ]


async def measure_work(connection: BusConnection, settings: BusSettings) -> list[Row]:
    """One piece of work from its dispatch to the worker that waits, and back out."""
    await ensure_work_consumer(connection, settings, "benchmark", lease_seconds=60)
    queue = JetStreamWorkQueue(connection, settings)
    waits: list[float] = []
    for number in range(ROUNDS):
        fetching = asyncio.create_task(queue.fetch("benchmark", timeout_seconds=30))
        await connection.replies.round_trip(timeout_seconds=5)
        began = time.perf_counter()
        await queue.dispatch(WorkKey("benchmark", "default", f"op-{number}"))
        item = await fetching
        waits.append((time.perf_counter() - began) * 1e3)
        if item is not None:
            await item.done()
    return [("dispatch to a waiting worker, p50", statistics.median(waits), "ms")]


async def measure_signal(connection: BusConnection, settings: BusSettings) -> list[Row]:
    """Ask who owns an operation."""
    signals = NatsSignals(connection, settings)

    async def wake() -> None: ...

    await signals.serve(Owner("w-1", 1), "op-1", wake)
    answer = await _median(lambda: signals.ask_owner("op-1", timeout_seconds=5))
    return [("ask the owner, p50", answer, "ms")]


def _envelope(event: Event, operation_id: str, number: int):
    return envelop_event(
        event,
        event_id=f"{operation_id}-{event.NAME}-{number}",
        operation_id=operation_id,
        source="/benchmark",
        time=SystemClock().now(),
    )


async def _append(log: JetStreamEventLog, operation_id: str, count: int) -> None:
    claimed = decode_event(EVENT_EXAMPLES[Claimed.type_name()])
    last = await log.append(_envelope(claimed, operation_id, 0), Claimed, expected_sequence=0)
    for unit in range(1, count):
        event = Progress(attempt=1, unit=unit, total_units=count, metrics={"equity": 100_000.0 + unit})
        last = await log.append(_envelope(event, operation_id, unit), Progress, expected_sequence=last)


async def _read_raw(connection: BusConnection, settings: BusSettings, stream: str, count: int) -> None:
    reader = StreamReader(connection, stream, timeout_seconds=settings.request_timeout_seconds)
    while count > 0:
        count -= len(await reader.next_batch(500))
    await reader.close()


async def _read_decoded(log: JetStreamEventLog, count: int) -> None:
    async with aclosing(log.tail_batches()) as batches:
        async for batch in batches:
            count -= len(batch)
            if count <= 0:
                return


async def _fetch(settings: BusSettings, stream: str, count: int, *, decoding: bool) -> None:
    client = await nats.connect(settings.url)
    try:
        pull = await client.jetstream().pull_subscribe(
            f"{settings.prefix}.event.>",
            stream=stream,
            config=nats.js.api.ConsumerConfig(ack_policy=nats.js.api.AckPolicy.NONE),
        )
        while count > 0:
            for message in await pull.fetch(FETCH_BATCH):
                count -= 1
                if decoding:
                    decode_event(decode(message.data))
    finally:
        await client.close()


async def _rate(count: int, read: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await read()
    return count / (time.perf_counter() - began)


async def _median(action: Callable[[], Awaitable[object]]) -> float:
    """Median time of one call, in milliseconds."""
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await action()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def _loading(log: JetStreamEventLog) -> Callable[[], Awaitable[object]]:
    return lambda: log.read_operation("op-one", without=(Progress,))


async def main() -> None:
    """Measure on a stack of its own and print the rows."""
    async with chosen_stack() as stack, fresh_tenant(stack) as tenant:
        for name, value, unit in await measure(tenant):
            print(f"{name:<60} {value:>12,.1f} {unit}")


if __name__ == "__main__":
    asyncio.run(main())
