"""Scrubbing through an operation of a million events: any state, warm, the very first, and with nothing on record.

Over HTTP, from a running orchestrator: moments as the Replay page asks for them, and states (``/state``).
The very first is that of an orchestrator that was just started, over again. What is answered is compared with the
whole fold from the first event, at one of the places. ``--quick``: a tenth of the events, and what it costs where
nothing is on record.

The generated log says of every checkpoint that it was recorded. To a new registrar all of them are news, which it
looks up in the log, one after the other, for a quarter of an hour; here they count as handled, as they would be.
"""

import asyncio
import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.durable_consumer import DurableConsumer
from milepost_orchestrator.application.registrar import REGISTRAR_EVENTS
from milepost_orchestrator.application.replaying import state_as_of, state_document
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology, ensure_topology
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import LogEntry
from sqlalchemy import text

from tests.benchmarks.figures import milliseconds, percentile
from tests.orchestrator.running import Running, run_orchestrator
from tests.support.bulk_publisher import publish_all
from tests.support.generated_log import GeneratedEvent, long_story

Row = tuple[str, float, str]
EVENTS = 1_000_000
PROGRESS_BETWEEN = 1_000
"""Progress events from one checkpoint to the next: a thousand checkpoints at the end."""
SCRUBS = 100
STARTS = 4
OPERATION = "op-00000007"
PARALLEL_MAX = 64
LOOK_SECONDS = 0.1


async def measure(endpoints: StackEndpoints, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Return figures of scrubs at random places, the same ones in every run."""
    events = EVENTS // 10 if quick else EVENTS
    chance = random.Random(7)
    say(f"writing {events:,} events")
    await _write(endpoints, events)
    with tempfile.TemporaryDirectory() as directory:
        rows = await _projected(endpoints, Path(directory), events, say)
        firsts = [await _first(endpoints, Path(directory), chance.randint(1, events)) for _ in range(STARTS)]
        rows.append(
            ("the very first moment of an orchestrator, median", statistics.median(firsts) * 1000, "ms")
        )
        rows.append(("the very first moment of an orchestrator, worst", max(firsts) * 1000, "ms"))
        say("scrubbing")
        async with run_orchestrator(endpoints, Path(directory)) as running:
            places = [chance.randint(1, events) for _ in range(SCRUBS)]
            moments = [await _timed(running, _moment, place) for place in places]
            states = [await _timed(running, _state, place) for place in places]
            steps = [await _timed(running, _moment, events // 2 + step) for step in range(SCRUBS)]
            rows += [
                *_figures("moment", moments),
                *_figures("state", states),
                *_figures("step by step", steps),
            ]
            say("folding from the start")
            middle = int(statistics.median(places))
            rows.append(
                ("the one in the middle, from the first event", await _compared(running, middle), "s")
            )
        if quick:  # as long as the whole fold, and more
            seconds = await _without_waymarks(endpoints, Path(directory))
            rows.append(("first moment with nothing on record", seconds, "s"))
    return rows


def _figures(what: str, seconds: list[float]) -> list[Row]:
    return [
        (f"{what} at any event, p50", milliseconds(seconds, 0.5), "ms"),
        (f"{what} at any event, p95", milliseconds(seconds, 0.95), "ms"),
        (f"{what} at any event, worst", percentile(seconds, 1.0) * 1000, "ms"),
    ]


async def _projected(
    endpoints: StackEndpoints, directory: Path, events: int, say: Callable[[str], None]
) -> list[Row]:
    """Let an orchestrator project the log, and say how much the waymarks take."""
    say("projecting")
    clock = SystemClock()
    begun = clock.monotonic_seconds()
    async with run_orchestrator(endpoints, directory) as running:
        await running.orchestrator.projector.reached(events)
        seconds = clock.monotonic_seconds() - begun
        [found] = await running.rows("SELECT count(*) AS count, sum(length(state)) AS bytes FROM waymarks")
    return [
        ("projected", events / seconds, "events/s"),
        ("waymarks", float(found["count"]), ""),
        ("all of them", float(found["bytes"]) / 1e6, "MB"),
    ]


async def _first(endpoints: StackEndpoints, directory: Path, place: int) -> float:
    async with run_orchestrator(endpoints, directory) as running:
        return await _timed(running, _moment, place)


async def _without_waymarks(endpoints: StackEndpoints, directory: Path) -> float:
    async with run_orchestrator(endpoints, directory) as running:
        async with running.orchestrator.engine.begin() as connection:
            await connection.execute(text("TRUNCATE waymarks"))
        return await _timed(running, _moment, 4711)


async def _timed(
    running: Running, ask: Callable[[Running, int], Awaitable[httpx.Response]], place: int
) -> float:
    clock = SystemClock()
    begun = clock.monotonic_seconds()
    (await ask(running, place)).raise_for_status()
    return clock.monotonic_seconds() - begun


async def _moment(running: Running, place: int) -> httpx.Response:
    path = f"/ui/operations/{OPERATION}/replay"
    return await running.http.get(path, params={"number": place}, headers={"HX-Request": "true"}, timeout=300)


async def _state(running: Running, place: int) -> httpx.Response:
    return await running.http.get(f"/operations/{OPERATION}/state", params={"sequence": place})


async def _compared(running: Running, place: int) -> float:
    """Fold from the start to a place, compare what was answered, and return how long it took."""
    clock = SystemClock()
    begun = clock.monotonic_seconds()
    whole = await state_as_of(running.event_log.stored(OPERATION), sequence=place)
    seconds = clock.monotonic_seconds() - begun
    answered = (await _state(running, place)).json()
    if whole.state is None or answered["state"] != state_document(whole.state):
        raise RuntimeError(f"the state at {place} is not that of the whole fold")
    return seconds


async def _write(endpoints: StackEndpoints, events: int) -> None:
    connection = await connect(endpoints.bus, name="bench")
    try:
        await ensure_topology(connection, endpoints.bus)
        await publish_all(endpoints.bus.url, _story(endpoints, events))
        await _handled(endpoints, connection)
    finally:
        await connection.close()


async def _handled(endpoints: StackEndpoints, connection: BusConnection) -> None:
    """Acknowledge all that a registrar would look up."""
    consumer = DurableConsumer(
        connection,
        endpoints.bus,
        name="registrar",
        events=REGISTRAR_EVENTS,
        handle=_nothing,
        parallel_max=PARALLEL_MAX,
    )
    working = asyncio.create_task(consumer.run())
    jetstream = JetStream(connection, timeout_seconds=endpoints.bus.request_timeout_seconds)
    waiting = 1
    while waiting:
        await asyncio.sleep(LOOK_SECONDS)  # the server tells nobody when a consumer has come to the end
        found = await jetstream.call(f"CONSUMER.INFO.{Topology(endpoints.bus).events}.registrar")
        waiting = found["num_pending"] + found["num_ack_pending"]
    working.cancel()
    await asyncio.wait({working})


async def _nothing(_: LogEntry) -> None:
    return


def _story(endpoints: StackEndpoints, events: int) -> Iterator[GeneratedEvent]:
    return long_story(endpoints.bus.prefix, OPERATION, events, progress_between=PROGRESS_BETWEEN)
