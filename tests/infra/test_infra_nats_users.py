"""Each service's NATS user may do what the service does, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
import pytest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import CancelRequested, Event, Requested, Side, Started
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.messages import envelop_event
from milepost_contracts.subjects import Subjects
from milepost_infra.embedded.nats_users import NatsUser
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.client import MilepostClient
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import BusPermissionError
from milepost_runtime.settings import BusSettings
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey

from tests.support.stack import reachable_directory

pytestmark = pytest.mark.integration
SECONDS_MAX = 10.0
WORK = WorkKey(kind="counter", queue="default", operation_id="op-1")


@pytest.fixture(scope="module")
async def users(stack: StackEndpoints) -> AsyncIterator[Callable[[NatsUser], BusSettings]]:
    """A bus of our own with the streams made by the orchestrator; its address for each user."""
    external = {name: value for name, value in stack.environment().items() if "NATS" not in name}
    with reachable_directory() as directory:
        mine = EmbeddedStack(directory / "stack", external=external)
        async with mine:
            bus = mine.endpoints("orchestrator").bus
            connection = await connect(bus, name="orchestrator")
            await ensure_topology(connection, bus)
            await connection.close()
            yield lambda user: mine.endpoints(user).bus


@asynccontextmanager
async def connected(settings: BusSettings) -> AsyncIterator[BusConnection]:
    """A connection for a block."""
    connection = await connect(settings, name="test")
    try:
        yield connection
    finally:
        await connection.close()


def envelope(event: Event, operation_id: str) -> Envelope:
    return envelop_event(
        event,
        event_id=f"ev-{operation_id}-{event.NAME}",
        operation_id=operation_id,
        source="/test",
        time=SystemClock().now(),
    )


def started() -> Started:
    return Started(attempt=1, unit=0, total_units=10, unit_name="unit")


def heartbeat(worker_id: str) -> WorkerHeartbeat:
    now = SystemClock().now()
    return WorkerHeartbeat(
        worker_id=worker_id,
        kind="counter",
        host="here",
        pid=1,
        slots=1,
        device="cpu",
        version="0",
        operations=(),
        started_at=now,
        seen_at=now,
    )


async def test_a_worker_does_its_work(users: Callable[[NatsUser], BusSettings]) -> None:
    """The worker takes work, writes run events, reads the log, answers signals and joins the fleet."""
    orchestrator, worker = users("orchestrator"), users("worker")
    async with connected(orchestrator) as above, connected(worker) as below:
        await ensure_topology(below, worker)
        await ensure_work_consumer(below, worker, "counter", lease_seconds=5.0)
        assert await JetStreamWorkQueue(above, orchestrator).dispatch(WORK)
        item = await JetStreamWorkQueue(below, worker).fetch("counter", timeout_seconds=5.0)
        assert item is not None
        log = JetStreamEventLog(below, worker)
        sequence = await log.append(envelope(started(), "op-1"), Started, expected_sequence=0)
        assert await log.last_sequence("op-1", Side.RUN) == sequence
        assert [entry.event.NAME for entry in await log.read_operation("op-1")] == ["started"]
        serving = await NatsSignals(below, worker).serve(Owner("w-1", 1), "op-1", nothing)
        assert await NatsSignals(above, orchestrator).ask_owner("op-1", timeout_seconds=5.0) == Owner(
            "w-1", 1
        )
        await serving.close()
        fleet = NatsFleet(below, worker)
        await fleet.beat(heartbeat("w-1"))
        assert [beat.worker_id for beat in await NatsFleet(above, orchestrator).workers()] == ["w-1"]
        await fleet.leave("w-1")
        await item.renew()
        await item.done()
        assert not await JetStreamWorkQueue(above, orchestrator).contains(WORK)


@pytest.mark.parametrize(
    "subject",
    [
        Subjects().event("op-2", CancelRequested),
        Subjects().event("op-2", Requested),
        Subjects().work("counter", "default", "op-2"),
        Subjects().command("cancel"),
        Subjects().request("cancel"),
        "$JS.API.STREAM.DELETE.milepost_EVENTS",
        "$JS.API.STREAM.PURGE.milepost_EVENTS",
        "$JS.API.STREAM.UPDATE.milepost_EVENTS",
        "$JS.API.STREAM.MSG.DELETE.milepost_EVENTS",
        "$JS.API.CONSUMER.DELETE.milepost_WORK.workers_counter",
        "elsewhere.event.op-2.run.started",
    ],
)
async def test_a_worker_may_not(users: Callable[[NatsUser], BusSettings], subject: str) -> None:
    """The worker writes nothing of the control side, no commands, and cannot harm the streams."""
    await assert_refused(users("worker"), subject)


async def test_a_client_commands_and_reads(users: Callable[[NatsUser], BusSettings]) -> None:
    """The client sends commands, both ways, and reads events and the fleet."""
    orchestrator, settings = users("orchestrator"), users("client")
    async with connected(orchestrator) as above, connected(settings) as below:
        client = MilepostClient(below, settings, SystemClock(), source="/test")
        await client.publish(CancelOperation(operation_id="op-3"), command_id="cmd-3")
        log = JetStreamEventLog(above, orchestrator)
        await log.append(envelope(CancelRequested(), "op-3"), CancelRequested, expected_sequence=0)
        read = await JetStreamEventLog(below, settings).read_operation("op-3")
        assert [entry.event.NAME for entry in read] == ["cancel-requested"]
        await NatsFleet(below, settings).workers()


@pytest.mark.parametrize(
    "subject",
    [
        Subjects().event("op-4", CancelRequested),
        Subjects().event("op-4", Started),
        Subjects().work("counter", "default", "op-4"),
        Subjects().signal("op-4"),
        Subjects().verdict("cmd-4"),
        "$KV.milepost_fleet.w-1",
        "$KV.milepost_kinds.counter",
        "$JS.API.STREAM.DELETE.milepost_EVENTS",
        "$JS.API.STREAM.PURGE.milepost_COMMANDS",
        "$JS.API.CONSUMER.MSG.NEXT.milepost_WORK.workers_counter",
        "$JS.API.CONSUMER.CREATE.milepost_COMMANDS.thief",
    ],
)
async def test_a_client_may_not(users: Callable[[NatsUser], BusSettings], subject: str) -> None:
    """The client writes no event, takes no work and cannot harm the streams."""
    await assert_refused(users("client"), subject)


async def assert_refused(settings: BusSettings, subject: str) -> None:
    """The server refuses a message to the subject, and says so."""
    refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def note(error: Exception) -> None:
        refusal.set_result(str(error))

    connection = await nats.connect(settings.url, error_cb=note)
    await connection.publish(subject, b"{}")
    words = await asyncio.wait_for(refusal, SECONDS_MAX)
    await connection.close()
    assert "permissions violation for publish" in words.lower()
    assert f'"{subject}"'.lower() in words.lower()


async def test_nobody_gets_in_without_a_password(users: Callable[[NatsUser], BusSettings]) -> None:
    """A wrong password is refused at once, and named as that."""
    address = users("client").url.rpartition("@")[2]
    with pytest.raises(BusPermissionError):
        await connect(BusSettings(url=f"nats://client:wrong@{address}"), name="test")


async def nothing() -> None:
    """Do nothing on a signal."""
