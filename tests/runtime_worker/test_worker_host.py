"""The worker host over doubles: who says what a kind is, and when."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from milepost_contracts.commands import RunOptions
from milepost_contracts.dispatch import Drain
from milepost_contracts.events import Requested
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription
from milepost_contracts.messages import envelop_event
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.testing.drains import MemoryDrains
from milepost_runtime.testing.event_log import MemoryEventLog
from milepost_runtime.testing.fleet import MemoryFleet, MemoryKindCatalogue
from milepost_runtime.testing.signals import MemorySignals
from milepost_runtime.testing.work_queue import MemoryWorkQueue
from milepost_runtime.work_queue import WorkItem, WorkKey
from milepost_runtime.worker.host import HostPorts, WorkerHost
from milepost_runtime.worker.kinds import load_kind
from milepost_runtime.worker.ports import AttemptPorts
from milepost_runtime.worker.preparation import Preparation
from milepost_runtime.worker.settings import WorkerSettings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
PLUGINS = str(Path(__file__).parent.parent / "plugins")
LIMIT_SECONDS = 60.0


class WatchedCatalogue(MemoryKindCatalogue):
    """Keeps every announcement, and a queue of them to wait on."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: asyncio.Queue[KindDescription] = asyncio.Queue()

    async def announce(self, description: KindDescription) -> None:
        await super().announce(description)
        await self.announced.put(description)


class AwayCatalogue(MemoryKindCatalogue):
    """A bus that is away."""

    async def announce(self, description: KindDescription) -> None:
        raise BusUnavailableError("away")


class WatchedFleet(MemoryFleet):
    """Says when somebody beat for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.beaten = asyncio.Event()

    async def beat(self, heartbeat: WorkerHeartbeat) -> None:
        await super().beat(heartbeat)
        self.beaten.set()


class IdleQueue(MemoryWorkQueue):
    """Never has work; lets the host look after its child once ``looking`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = asyncio.Event()

    async def fetch(self, kind: str, *, timeout_seconds: float) -> WorkItem | None:
        await self.looking.wait()
        await asyncio.sleep(0)
        return None


@dataclass
class Item:
    """Work that was fetched."""

    key: WorkKey = field(default_factory=lambda: WorkKey("counter", "default", "op-1"))
    deliveries: int = 1
    given_back: asyncio.Event = field(default_factory=asyncio.Event)

    async def renew(self) -> None: ...

    async def done(self) -> None: ...

    async def give_back(self, *, delay_seconds: float = 0.0) -> None:
        self.given_back.set()


class UnheardItem(Item):
    """Work of a server that has forgotten to whom it gave it."""

    async def done(self) -> None:
        raise BusUnavailableError("no answer in time")


class Desk:
    """A host of a kind, and what it talks to."""

    def __init__(self, directory: Path, kind: str, catalogue: MemoryKindCatalogue | None = None) -> None:
        self.catalogue = catalogue or WatchedCatalogue()
        self.fleet, self.queue, self.drains = WatchedFleet(), IdleQueue(), MemoryDrains()
        self.event_log = MemoryEventLog()
        store = DirectoryArtifactStore(directory / "store")
        loaded = load_kind(kind)
        self.host = WorkerHost(
            loaded,
            HostPorts(self.queue, self.fleet, self.catalogue, self.drains),
            AttemptPorts(
                event_log=self.event_log,
                signals=MemorySignals(),
                store=store,
                preparation=Preparation(store, directory / "inputs"),
                clock=SystemClock(),
                settings=WorkerSettings("w-1", kind, directory / "worker", heartbeat_seconds=0.5),
                default_policy=loaded.default_checkpoint_policy,
            ),
        )

    async def next_announcement(self) -> KindDescription:
        assert isinstance(self.catalogue, WatchedCatalogue)
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.catalogue.announced.get()


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Desk]:
    task = asyncio.create_task(desk.host.run())
    try:
        yield desk
    finally:
        await desk.host.stop()
        await task


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PLUGINS)


async def test_the_kind_is_announced_as_its_child_describes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's description is announced, and the worker is in the fleet only after it."""
    monkeypatch.setenv("MILEPOST_TEST_COUNTER_EXAMPLE", "7")
    desk = Desk(tmp_path, "counter")
    async with running(desk):
        assert await desk.fleet.workers() == []
        assert (await desk.next_announcement()).example == {"units": 7}
        async with asyncio.timeout(LIMIT_SECONDS):
            await desk.fleet.beaten.wait()
        assert [worker.kind for worker in await desk.fleet.workers()] == ["counter"]
    assert await desk.fleet.workers() == []


async def test_a_changed_kind_is_announced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later child that has more to offer replaces the announcement; one that has not says nothing."""
    desk = Desk(tmp_path, "counter")
    async with running(desk):
        assert (await desk.next_announcement()).example == {"units": 100}
        monkeypatch.setenv("MILEPOST_TEST_COUNTER_EXAMPLE", "200")
        for child in psutil.Process().children():
            if "--kind=counter" in child.cmdline():
                child.kill()
        desk.queue.looking.set()
        assert (await desk.next_announcement()).example == {"units": 200}


async def test_a_host_that_cannot_announce_does_not_work(tmp_path: Path) -> None:
    """Nobody could start operations for it: it ends with the bus's error and leaves no child behind."""
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(BusUnavailableError):
        await Desk(tmp_path, "counter", AwayCatalogue()).host.run()
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_work_that_comes_as_the_worker_is_drained_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed after the drain, the heartbeat says who and why; undrained it looks for work again."""
    desk, item = Desk(tmp_path, "counter"), Item()
    drain = Drain(requested_by="/test", reason="new disks", since=SystemClock().now())
    fetched = asyncio.Queue[None]()

    async def fetch(kind: str, *, timeout_seconds: float) -> WorkItem | None:
        await fetched.put(None)
        if fetched.qsize() == 1:
            desk.drains.drains["w-1"] = drain
            return item
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(desk.queue, "fetch", fetch)
    async with running(desk), asyncio.timeout(LIMIT_SECONDS):
        await item.given_back.wait()
        assert desk.event_log.entries == []
        while (await desk.fleet.workers())[0].drain != drain:
            desk.fleet.beaten.clear()
            await desk.fleet.beaten.wait()
        assert fetched.qsize() == 1
        desk.drains.drains.clear()
        while fetched.qsize() < 2:
            desk.fleet.beaten.clear()
            await desk.fleet.beaten.wait()


async def test_a_bus_that_does_not_hear_of_an_end_takes_no_worker_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is in the log; the worker looks for other work, and whoever gets this one again finds the end."""
    desk = Desk(tmp_path, "counter")
    fetched = asyncio.Queue[None]()
    requested = Requested(kind="counter", spec={"units": 2}, options=RunOptions(), root_id="op-1")
    envelope = envelop_event(
        requested, event_id="ev-1", operation_id="op-1", source="/test", time=SystemClock().now()
    )
    await desk.event_log.append(envelope, Requested, expected_sequence=0)

    async def fetch(kind: str, *, timeout_seconds: float) -> WorkItem | None:
        await fetched.put(None)
        if fetched.qsize() <= 2:
            return UnheardItem()
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(desk.queue, "fetch", fetch)
    async with running(desk), asyncio.timeout(LIMIT_SECONDS):
        while fetched.qsize() < 3:
            desk.fleet.beaten.clear()
            await desk.fleet.beaten.wait()
    names = [entry.event.NAME for entry in await desk.event_log.read_operation("op-1")]
    assert names.count("claimed") == 1
    assert names[-1] == "completed"


HOST_OF_TRAININGS = """
import asyncio, json, sys
from pathlib import Path
from tests.runtime_worker.test_worker_host import Desk, running

async def announce():
    desk = Desk(Path(sys.argv[1]), "training")
    async with running(desk):
        return await desk.next_announcement()

kind = asyncio.run(announce())
heavy = [name for name in ("torch", "numpy", "pandas", "pyarrow", "safetensors") if name in sys.modules]
print(json.dumps([heavy, sorted(kind.parts["task"]), kind.dataset_fields]))
"""


def test_a_host_of_trainings_loads_no_torch(tmp_path: Path) -> None:
    """It announces every installed task with its schema, and array libraries stay in the child."""
    found = subprocess.run(
        [sys.executable, "-c", HOST_OF_TRAININGS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    heavy, tasks, fields = json.loads(found.stdout.splitlines()[-1])
    assert heavy == []
    assert "bars" in tasks
    assert fields == ["data"]
