"""The dashboard under load: 10 000 operations, 1 000 events a second, 50 open event streams, two real pages.

A whole orchestrator in a process of its own. Of the events every hundredth is a claim, which makes every list be
read again; the rest is progress. From event to screen is from the moment before an event is published to the frame
in which a page of Chromium shows it; from event to stream the same to the arrival at a client. Versions that
another one replaced within a frame are never shown, by intention, and not counted. The browser, and this process,
which writes and reads all streams, compete with the server for the processor: what each took is said beside.
``--quick``: a tenth of the operations.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.clock import SystemClock

from tests.benchmarks.figures import milliseconds, percentile
from tests.benchmarks.page_watching import WATCH, Sight, StreamReading, delays, sights_of, stream_of
from tests.dashboard.browser import Visitor, opened_browser, visitor
from tests.support.generated_log import LiveEvents, LogPlan, write_log
from tests.support.services import Services

Row = tuple[str, float, str]
PLAN = LogPlan(finished=9_000, running=1_000, progress=3)
QUICK = LogPlan(finished=900, running=100, progress=3)
EVENTS_PER_SECOND = 1_000
TICK_SECONDS = 0.05
CLAIM_EVERY = 100
LIST_STREAMS, OPERATION_STREAMS = 40, 10
LOOKING_STREAMS = 4
WARM_UP_SECONDS = 5.0
SECONDS = 30.0
READY_SECONDS = 120.0


@dataclass
class Writer:
    """Publishes events of the operations that run, at their times."""

    connection: BusConnection
    events: LiveEvents
    operations: list[str]
    written: dict[Sight, float] = field(default_factory=dict[Sight, float])
    """When each version was published."""
    count: int = 0

    async def write(self) -> None:
        """Write until cancelled, each operation in turn."""
        clock = SystemClock()
        begun = clock.monotonic_seconds()
        while True:
            due = int((clock.monotonic_seconds() - begun) * EVENTS_PER_SECOND)
            for number in range(self.count, due):
                await self._publish(number, clock)
            await asyncio.sleep(TICK_SECONDS)

    async def _publish(self, number: int, clock: SystemClock) -> None:
        turn, place = divmod(number, len(self.operations))
        operation_id = self.operations[(place + turn) % len(self.operations)]  # claims go round too
        now = clock.now()
        if number % CLAIM_EVERY == CLAIM_EVERY - 1:
            event = self.events.claimed(operation_id, now)
        else:
            unit = 10 + number
            self.written[operation_id, unit] = now.timestamp()
            event = self.events.progress(operation_id, unit, now)
        await self.connection.publish(event.subject, event.payload)
        self.count = number + 1


async def measure(endpoints: StackEndpoints, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Measure for half a minute, once everything is open and warm."""
    plan = QUICK if quick else PLAN
    async with AsyncExitStack() as resources:
        connection = await connect(endpoints.bus, name="bench")
        resources.push_async_callback(connection.close)
        await ensure_topology(connection, endpoints.bus)
        say(f"writing {plan.events:,} events")
        await write_log(endpoints.bus, plan)
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        say("projecting")
        services = await resources.enter_async_context(Services(endpoints, directory))
        url, process = await _ready(services, plan.events)
        running = [f"op-{number:08}" for number in range(plan.finished, plan.operations)]
        writer = Writer(connection, LiveEvents(endpoints.bus.prefix), running)
        return await _watched(url, process, writer, say)


async def _watched(
    url: str, process: psutil.Process, writer: Writer, say: Callable[[str], None]
) -> list[Row]:
    async with AsyncExitStack() as resources:
        say("opening pages")
        pages = await resources.enter_async_context(_pages(url, writer.operations[-1]))
        streams = await resources.enter_async_context(_streams(url, writer.operations[-1]))
        await resources.enter_async_context(_in_background(writer.write()))
        await asyncio.sleep(WARM_UP_SECONDS)  # everything was rendered once
        for each in pages:
            await each.page.evaluate(WATCH)
        before, count = _marks(streams, process), writer.count
        others = _others_seconds()
        say("watching")
        psutil.cpu_percent()
        clock = SystemClock()
        begun = clock.monotonic_seconds()
        await asyncio.sleep(SECONDS)  # the time is the measure
        seconds = clock.monotonic_seconds() - begun
        after = _marks(streams, process)
        list_page, operation_page = pages
        found = {
            "screen, list": delays(writer.written, await sights_of(list_page.page)),
            "screen, one operation": delays(
                writer.written, await sights_of(operation_page.page, writer.operations[-1])
            ),
            "stream": [
                delay for each in streams[:LOOKING_STREAMS] for delay in delays(writer.written, each.seen)
            ],
        }
        written = (writer.count - count) / seconds
        browser, own = (two - one for one, two in zip(others, _others_seconds(), strict=True))
    rows = [("written", written, "events/s"), ("open streams", float(len(streams) + len(pages)), "")]
    for name, values in found.items():
        rows += _figures(f"event to {name}", values)
    frames, read, processor_seconds = (two - one for one, two in zip(before, after, strict=True))
    return [
        *rows,
        ("frames to a stream", frames / len(streams) / seconds, "/s"),
        ("bytes to a stream", read / len(streams) / seconds / 1000, "kB/s"),
        ("processor time of the server", processor_seconds / seconds, "cores"),
        ("processor time of the browser", browser / seconds, "cores"),
        ("processor time of this process", own / seconds, "cores"),
        ("machine busy", psutil.cpu_percent(), "%"),
    ]


def _others_seconds() -> tuple[float, float]:
    """Processor time of the browser's processes and of this one."""
    own = psutil.Process()
    browser = [each for each in own.children(recursive=True) if "chrom" in each.name()]
    return sum(map(_seconds, browser)), _seconds(own)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _figures(name: str, seconds: list[float]) -> list[Row]:
    return [
        (f"{name}, p50 of {len(seconds):,}", milliseconds(seconds, 0.5), "ms"),
        (f"{name}, p95", milliseconds(seconds, 0.95), "ms"),
        (f"{name}, worst", percentile(seconds, 1.0) * 1000, "ms"),
    ]


def _marks(streams: list[StreamReading], process: psutil.Process) -> tuple[float, float, float]:
    return (
        sum(each.frames for each in streams),
        sum(each.bytes_read for each in streams),
        _seconds(process),
    )


async def _ready(services: Services, events: int) -> tuple[str, psutil.Process]:
    """Start an orchestrator and wait until it has projected everything."""
    port_file = services.directory / "port"
    service = await services.orchestrator(MILEPOST_HTTP_PORT_FILE=str(port_file))
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:  # neither a file nor a projector of another process has an event to await
            await asyncio.sleep(TICK_SECONDS)
            if not port_file.exists() or not (port := port_file.read_text(encoding="utf-8").strip()):
                continue
            url = f"http://127.0.0.1:{port}"
            projector = (await http.get(f"{url}/readyz")).json().get("projector", {})
            if projector.get("sequence", 0) >= events:
                return url, psutil.Process(service.pid)


@asynccontextmanager
async def _pages(url: str, operation_id: str) -> AsyncIterator[list[Visitor]]:
    """Yield a list and an operation in a browser, both live."""
    async with AsyncExitStack() as resources:
        browser = await resources.enter_async_context(opened_browser())
        found: list[Visitor] = []
        for path in ("/ui/operations", f"/ui/operations/{operation_id}"):
            person = await resources.enter_async_context(visitor(browser, url))
            await person.visit(path)
            found.append(person)
        yield found


@asynccontextmanager
async def _streams(url: str, operation_id: str) -> AsyncIterator[list[StreamReading]]:
    """Yield open event streams; the first ones look at what comes."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        lists = await stream_of(http, "/ui/operations")
        operation = await stream_of(http, f"/ui/operations/{operation_id}")
    paths = [lists] * LIST_STREAMS + [operation] * OPERATION_STREAMS
    streams = [StreamReading() for _ in paths]
    async with AsyncExitStack() as resources:
        for number, (stream, path) in enumerate(zip(streams, paths, strict=True)):
            reading = stream.read(url, path, looks=number < LOOKING_STREAMS)
            await resources.enter_async_context(_in_background(reading))
        yield streams


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let something run for as long as the block does; it must not end before."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
