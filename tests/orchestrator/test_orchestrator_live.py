"""Live changes: what is sent, once rendered for all; coming back, falling behind, beginning anew, and stopping."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application import documents, live_reader
from milepost_orchestrator.application.fleet_view import FleetView
from milepost_orchestrator.application.live import LiveFeed
from milepost_orchestrator.application.live_reader import Frame, Interest, LiveReader, changes_data
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.clock import SystemClock

from tests.orchestrator.running import WAIT_SECONDS, Running, run_orchestrator
from tests.orchestrator.stories import EPOCH, claimed, log_entries, progress, requested, snapshot, started

OPERATION, OTHER = "op-aaaaaaaaaaaaaaaa", "op-bbbbbbbbbbbbbbbb"


class Stream:
    """One open event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def frame(self) -> tuple[str, dict]:
        """The next frame, by name; heartbeats are frames called so."""
        name, data = "", "{}"
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self._lines:
                key, _, value = line.partition(": ")
                match key:
                    case "id":
                        self.last_id = value
                    case "event":
                        name = value
                    case "data":
                        data = value
                    case "":
                        if value:
                            return "heartbeat", {}
                        if name:
                            return name, json.loads(data)
        raise EOFError

    async def until(self, name: str, condition=lambda data: True) -> dict:
        """The data of the next frame of that name for which ``condition`` holds."""
        while True:
            found, data = await self.frame()
            if found == name and condition(data):
                return data


@asynccontextmanager
async def opened(
    http: httpx.AsyncClient, last_id: str | None = None, **parameters: object
) -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last_id} if last_id is not None else {}
    async with http.stream("GET", "/live", params=parameters, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


def has(operation_id: str, **fields: object):
    def condition(data: dict) -> bool:
        found = [each for each in data.get("operations", []) if each["operation_id"] == operation_id]
        return bool(found) and all(found[-1][key] == value for key, value in fields.items())

    return condition


# --- the feed -------------------------------------------------------------------------------------


def batches(*numbers: int, operation_id: str = OPERATION) -> list:
    """Changes of one batch a number: the operation is requested, then makes progress to that unit."""
    cache = StateCache()
    project(cache, log_entries(requested(operation_id), claimed(), started(), operation_id=operation_id))
    return [
        project(cache, log_entries(progress(unit), operation_id=operation_id, first_sequence=unit))
        for unit in numbers
    ]


@pytest.mark.unit
async def test_a_version_is_rendered_once_for_all_readers(monkeypatch) -> None:
    """Fifty readers of the same batch cost one rendering, and a version that nobody wants none."""
    feed = LiveFeed()
    for changes in batches(10, 20):
        feed.changed(changes)
    times = []
    original = documents.operation_document
    monkeypatch.setattr(documents, "operation_document", lambda row: times.append(1) or original(row))
    found = {changes_data(feed.since(0), Interest(every_operation=True)) for _ in range(50)}
    assert len(found) == 1
    assert len(times) == 1
    data = json.loads(found.pop())
    assert [each["unit"] for each in data["operations"]] == [20]
    assert data["sequence"] == 20


@pytest.mark.unit
async def test_only_what_is_in_sight_is_sent_and_the_others_are_counted() -> None:
    """A page of some operations gets those; a page of one gets what happened to it; another one gets nothing."""
    feed = LiveFeed()
    for changes in (*batches(10), *batches(11, operation_id=OTHER)):
        feed.changed(changes)
    held = feed.since(0)
    some = json.loads(changes_data(held, Interest(operation_ids=frozenset({OTHER}))))
    assert ([each["operation_id"] for each in some["operations"]], some["others"]) == ([OTHER], 1)
    one = json.loads(changes_data(held, Interest(detail=OPERATION)))
    assert (one["others"], [each["sequence"] for each in one["details"]]) == (0, [10])
    assert one["details"][0]["series"] == [{"name": "loss", "units": [10], "values": [5.0], "attempts": [1]}]
    assert changes_data(held, Interest(detail="op-nowhere")) is None
    assert changes_data(held, Interest(fleet=True)) is None


async def next_frame(frames: AsyncIterator[Frame]) -> Frame:
    async with asyncio.timeout(WAIT_SECONDS):
        return await anext(frames)


@pytest.mark.unit
async def test_a_slow_reader_is_told_to_read_again_and_nothing_piles_up() -> None:
    """What it has not taken is dropped at the bound; it goes on with the newest."""
    feed = LiveFeed(entries_max=100)
    fleet = FleetView(None, SystemClock())
    slow = LiveReader(feed, fleet, Interest(every_operation=True), SystemClock(), after=None).frames()
    assert (await next_frame(slow)).sequence == 0
    changes = batches(*range(10, 1010))
    for each in changes[:-1]:
        feed.changed(each)
    assert sum(batch.entries for batch in feed.since(feed.position - 50)) <= 100
    assert feed.since(0) is None
    assert await next_frame(slow) == Frame("reread", b'{"sequence":1008}', 1008)
    feed.changed(changes[-1])
    assert b'"unit":1009' in (await next_frame(slow)).data
    await slow.aclose()


@pytest.mark.unit
async def test_a_reader_of_a_projection_that_begins_anew_is_told_to_read_again() -> None:
    """Also when the new one is at a lower sequence; and a page that comes from a log that is gone."""
    feed = LiveFeed()
    feed.begun_anew(500)
    fleet = FleetView(None, SystemClock())
    reader = LiveReader(feed, fleet, Interest(every_operation=True), SystemClock(), after=499).frames()
    await next_frame(reader)
    assert (await next_frame(reader)).event == "reread"
    feed.begun_anew(3)
    assert await next_frame(reader) == Frame("reread", b'{"sequence":3}', 3)
    await reader.aclose()

    class Later(SystemClock):
        def monotonic_seconds(self) -> float:
            self.calls = getattr(self, "calls", -1) + 1
            return 10.0 * self.calls

    stranger = LiveReader(feed, fleet, Interest(every_operation=True), Later(), after=10**9).frames()
    await next_frame(stranger)
    assert (await next_frame(stranger)).event == "reread"
    await stranger.aclose()


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.mark.integration
async def test_changes_come_and_nothing_is_missed_in_between(
    running: Running, tenant: StackEndpoints
) -> None:
    """From the answer that the page was made of on; after a broken connection from where it broke off."""
    await running.keep_state()
    await running.projected()
    listed = await running.http.get("/operations")
    operation_id = await running.start()  # between the page and its stream
    async with opened(running.http, operations=True, after=listed.headers["Milepost-Sequence"]) as stream:
        await stream.until("changes", has(operation_id, status="queued"))
        await running.happen(operation_id, claimed(), started(), progress(10))
        await stream.until("changes", has(operation_id, status="running", unit=10))
        last_id = stream.last_id
    await running.happen(operation_id, progress(20), snapshot("cp-1", 20))
    await running.projected()
    async with opened(running.http, last_id, detail=operation_id) as stream:
        data = await stream.until("changes", has(operation_id, unit=20))
        names = [event["name"] for each in data["details"] for event in each["events"]]
        assert names[0] == "state-snapshot"
        checkpoints = [found for each in data["details"] for found in each["checkpoints"]]
        assert checkpoints[0]["checkpoint_id"] == "cp-1"
        assert checkpoints[0]["artifacts"][0]["name"] == "state.json"
        assert [found["units"] for each in data["details"] for found in each["series"]] == [[20]]
    async with opened(running.http, fleet=True) as stream:
        assert await stream.until("fleet") == {"workers": []}
        beat = WorkerHeartbeat(
            worker_id="w-1",
            kind="counter",
            host="h",
            pid=1,
            slots=1,
            device="cpu",
            version="0",
            operations=(),
            started_at=EPOCH,
            seen_at=EPOCH,
        )
        await NatsFleet(running.orchestrator.connection, tenant.bus).beat(beat)
        assert [each["worker_id"] for each in (await stream.until("fleet"))["workers"]] == ["w-1"]


@pytest.mark.integration
async def test_a_quiet_stream_beats_and_ends_with_its_orchestrator(
    tenant: StackEndpoints, tmp_path: Path, monkeypatch
) -> None:
    """Nothing happens: a comment keeps proxies awake. The orchestrator stops: the stream ends at once, cleanly."""
    monkeypatch.setattr(live_reader, "HEARTBEAT_SECONDS", 0.2)
    clock = SystemClock()
    async with run_orchestrator(tenant, tmp_path) as running:
        await running.projected()
        async with opened(running.http, operations=True) as stream:
            while (await stream.frame())[0] != "heartbeat":
                pass
            begin = clock.monotonic_seconds()
            running.service.stop()
            with pytest.raises(EOFError):
                await stream.until("never")
            assert clock.monotonic_seconds() - begin < 4  # uvicorn's patience with open streams is 5 s


@pytest.mark.integration
async def test_every_orchestrator_tells_whoever_projected_it(tenant: StackEndpoints, tmp_path: Path) -> None:
    """Two projectors, one of which finds each batch written: both streams tell of the change."""
    async with run_orchestrator(tenant, tmp_path) as first, run_orchestrator(tenant, tmp_path) as second:
        await first.start()
        await first.projected()  # both have begun, so that neither tells its readers to read again
        await second.projected()
        async with opened(first.http, operations=True) as one, opened(second.http, operations=True) as two:
            await one.frame()
            await two.frame()
            operation_id = await first.start()
            await one.until("changes", has(operation_id))
            await two.until("changes", has(operation_id))
