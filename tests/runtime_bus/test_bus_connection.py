"""Connections: bounded at first, then for ever, and clear about what is wrong."""

import asyncio
import time
from dataclasses import replace

import pytest
from milepost_contracts.events import Claimed, Requested
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.bus.replies import NoAnswerError, NoAnswerReason
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.errors import BusPermissionError, BusRefusedError, BusUnavailableError
from milepost_runtime.settings import BusSettings
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey

from tests.runtime_bus.bus_support import CLAIMED, REQUESTED, Bus, append, envelope, open_bus
from tests.runtime_bus.proxy import Proxy

pytestmark = pytest.mark.integration


async def test_no_server_is_said_soon_and_without_the_password() -> None:
    """Where nothing listens the error comes within the bound and names the address only."""
    settings = BusSettings(url="nats://someone:s3cret@127.0.0.1:9")
    began = time.perf_counter()
    with pytest.raises(BusUnavailableError) as refused:
        await connect(settings, name="test", patience_seconds=0.5)
    assert time.perf_counter() - began < 30  # bounded, not fast: machines are noisy
    assert "127.0.0.1:9" in str(refused.value)
    assert "MILEPOST_NATS_URL" in str(refused.value)
    assert "s3cret" not in str(refused.value)


async def test_wrong_password_is_said_at_once(
    stack: StackEndpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused credentials are not tried until the time is over, and never printed."""
    right = stack.bus.url
    wrong = replace(stack.bus, url=right.replace("@", "x@"))
    async with asyncio.timeout(5):
        with pytest.raises(BusPermissionError, match="refused the credentials") as refused:
            await connect(wrong, name="test", patience_seconds=60)
    printed = capsys.readouterr()
    for words in (str(refused.value), printed.out, printed.err):
        assert right.split("@")[0] not in words


async def test_one_of_several_servers_is_enough(tenant: StackEndpoints) -> None:
    """The first server that answers is taken."""
    several = replace(tenant.bus, url=f"nats://127.0.0.1:9,{tenant.bus.url}")
    connection = await connect(several, name="test", patience_seconds=20)
    assert connection.is_connected
    await connection.close()


async def test_lost_connection_comes_back(proxy: Proxy) -> None:
    """A request that was on its way when the connection broke fails at the reconnect, not after its time."""
    async with open_bus(proxy.settings) as bus:

        async def silent(_: object) -> None:
            await asyncio.Event().wait()

        await bus.connection.listen("quiet", silent, timeout_seconds=5)
        asking = asyncio.create_task(bus.connection.replies.ask("quiet", timeout_seconds=60))
        await bus.connection.replies.round_trip(timeout_seconds=5)
        proxy.cut()
        with pytest.raises(NoAnswerError) as lost:
            async with asyncio.timeout(10):
                await asking
        assert lost.value.reason is NoAnswerReason.CONNECTION_LOST
        await bus.connection.replies.round_trip(timeout_seconds=5)


async def test_nobody_listens(bus: Bus) -> None:
    """A request to a subject without a listener fails at once."""
    with pytest.raises(NoAnswerError) as failed:
        await bus.connection.replies.ask("nobody.here", timeout_seconds=60)
    assert failed.value.reason is NoAnswerReason.NOBODY_LISTENS


async def test_too_late_an_answer(bus: Bus) -> None:
    """A request fails after its time, and the answer that comes then disturbs nothing."""
    go = asyncio.Event()

    async def slow(msg) -> None:
        await go.wait()
        await msg.respond(b"late")

    await bus.connection.listen("slow", slow, timeout_seconds=5)
    with pytest.raises(NoAnswerError) as failed:
        await bus.connection.replies.ask("slow", timeout_seconds=0.05)
    assert failed.value.reason is NoAnswerReason.TIMEOUT
    go.set()
    await bus.connection.replies.round_trip(timeout_seconds=5)


async def test_closed_connection_says_so(tenant: StackEndpoints) -> None:
    """What waits when the connection is closed ends at once, and nothing new begins."""
    async with open_bus(tenant.bus) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings)
        fetching = asyncio.create_task(
            JetStreamWorkQueue(bus.connection, bus.settings).fetch("counter", timeout_seconds=60)
        )
        await asyncio.sleep(0)
        await bus.connection.replies.round_trip(timeout_seconds=5)
        await bus.connection.close()
        async with asyncio.timeout(5):
            with pytest.raises(BusUnavailableError):
                await fetching
            with pytest.raises(BusUnavailableError):
                await append(log, CLAIMED, "e1", expected=0)
            with pytest.raises(BusUnavailableError):
                await anext(log.tail())


async def test_too_large_a_message_is_refused(bus: Bus) -> None:
    """A message that the server would not take is refused here, with both sizes."""
    log = JetStreamEventLog(bus.connection, bus.settings)
    large = REQUESTED.model_copy(update={"name": "x" * 2_000_000})
    with pytest.raises(BusRefusedError, match="server takes"):
        await log.append(envelope(large, "e1"), Requested, expected_sequence=0)


@pytest.fixture
async def restricted(broker: EmbeddedStack):
    """A tenant whose streams are there, and a worker's connection to it."""
    async with open_bus(broker.endpoints().bus):
        pass
    settings = broker.endpoints("worker").bus
    connection = await connect(settings, name="worker")
    yield Bus(connection, settings)
    await connection.close()


async def test_forbidden_append_is_visible(restricted: Bus) -> None:
    """A worker that writes a control event is told that it may not, at once and not by a timeout."""
    log = JetStreamEventLog(restricted.connection, restricted.settings)
    async with asyncio.timeout(2):
        with pytest.raises(BusPermissionError, match=r"op-1\.control\.requested"):
            await append(log, REQUESTED, "e1", expected=0)
    assert await log.append(envelope(CLAIMED, "e2"), Claimed, expected_sequence=0) == 1


async def test_forbidden_subscription_is_visible(restricted: Bus) -> None:
    """Listening where one may not is an error and not silence."""

    async def ignore(_: object) -> None: ...

    with pytest.raises(BusPermissionError, match="subscribe to"):
        await restricted.connection.listen("milepost.request.start", ignore, timeout_seconds=5)


async def test_worker_has_all_the_permissions_it_needs(restricted: Bus, broker: EmbeddedStack) -> None:
    """A worker can verify the streams, make its consumer, take work, write, read, signal and beat."""
    connection, settings = restricted.connection, restricted.settings
    await ensure_topology(connection, settings, fleet_ttl_seconds=1.0)
    await ensure_work_consumer(connection, settings, "counter", lease_seconds=5)
    queue = JetStreamWorkQueue(connection, settings)
    async with open_bus(broker.endpoints("orchestrator").bus) as orchestrator:
        others = JetStreamWorkQueue(orchestrator.connection, orchestrator.settings)
        assert await others.dispatch(WorkKey("counter", "default", "op-1"))
    item = await queue.fetch("counter", timeout_seconds=5)
    assert item is not None
    await item.renew()
    await item.done()
    log = JetStreamEventLog(connection, settings)
    await append(log, CLAIMED, "e1", expected=0)
    assert len(await log.read_operation("op-1")) == 1
    signals = NatsSignals(connection, settings)
    await signals.serve(Owner("w-1", 1), "op-1", asyncio.Event().wait)
    assert await signals.ask_owner("op-1", timeout_seconds=5) == Owner("w-1", 1)
    assert await NatsFleet(connection, settings).workers() == []
