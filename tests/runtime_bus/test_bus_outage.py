"""A broker that is killed and comes back: readers go on, writers wait, nothing is lost and nothing doubled."""

import asyncio
from contextlib import aclosing

import pytest
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey

from tests.runtime_bus.bus_support import CLAIMED, COMPLETED, append, append_many, open_bus, reconnecting

pytestmark = pytest.mark.integration

WAIT_SECONDS = 30.0
KEY = WorkKey("counter", "default", "op-1")


async def test_tail_across_a_killed_broker(broker: EmbeddedStack) -> None:
    """A reader goes on after kill -9 and restart of the broker, with every acknowledged event once, in order."""
    async with open_bus(broker.endpoints().bus) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings)
        async with aclosing(log.tail()) as entries:
            last = await append_many(log, 500)
            seen = [(await anext(entries)).sequence for _ in range(250)]
            await broker.kill("nats")
            await broker.restart("nats")
            last = await append_many(log, 500, expected=last)
            async with asyncio.timeout(WAIT_SECONDS):
                while seen[-1] < last:
                    seen.append((await anext(entries)).sequence)
        assert seen == list(range(1, 1001))


async def test_waiting_tail_across_a_killed_broker(broker: EmbeddedStack) -> None:
    """A reader that was waiting when the broker died gets the first event after its return."""
    async with open_bus(broker.endpoints().bus) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings)
        last = await append(log, CLAIMED, "e1", expected=0)
        async with aclosing(log.tail(after_sequence=last)) as entries:
            waiting = asyncio.create_task(anext(entries))
            await bus.connection.replies.round_trip(timeout_seconds=5)
            await broker.kill("nats")
            await broker.restart("nats")
            last = await append(log, COMPLETED, "e2", expected=last)
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await waiting).sequence == last


async def test_append_waits_for_the_broker(broker: EmbeddedStack) -> None:
    """An append during an outage that is shorter than its patience succeeds, and is in the log once."""
    async with open_bus(broker.endpoints().bus) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings, append_patience_seconds=WAIT_SECONDS)
        await append(log, CLAIMED, "e1", expected=0)
        await broker.kill("nats")
        appending = asyncio.create_task(append(log, COMPLETED, "e2", expected=1))
        await broker.restart("nats")
        assert await appending == 2
        assert [entry.envelope.id for entry in await log.read_operation("op-1")] == ["e1", "e2"]


async def test_everything_says_that_the_broker_is_away(broker: EmbeddedStack) -> None:
    """While the broker is away every port ends within its bound with the same error, or with nothing to say."""
    async with open_bus(broker.endpoints().bus) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings, append_patience_seconds=0.5)
        queue = JetStreamWorkQueue(bus.connection, bus.settings)
        signals = NatsSignals(bus.connection, bus.settings)
        await queue.fetch("counter", timeout_seconds=0)
        await broker.kill("nats")
        with pytest.raises(BusUnavailableError):
            await append(log, CLAIMED, "e1", expected=0)
        with pytest.raises(BusUnavailableError):
            await queue.fetch("counter", timeout_seconds=0.3)
        assert await signals.ask_owner("op-1", timeout_seconds=0.1) is None
        await signals.notify("op-1")
        fleet = asyncio.create_task(NatsFleet(bus.connection, bus.settings).workers())
        await broker.restart("nats")
        assert await fleet == []


async def test_work_and_its_lease_survive_the_broker(broker: EmbeddedStack) -> None:
    """Work that waits, and work that is leased, is there after kill -9 of the broker; its owner can end it."""
    async with open_bus(broker.endpoints().bus) as bus:
        await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=60)
        queue = JetStreamWorkQueue(bus.connection, bus.settings)
        await queue.dispatch(KEY)
        item = await queue.fetch("counter", timeout_seconds=5)
        assert item is not None
        await broker.kill("nats")
        renewing = asyncio.create_task(item.renew())
        await broker.restart("nats")
        async with asyncio.timeout(WAIT_SECONDS):
            await renewing
        assert await queue.contains(KEY)
        await item.done()
        assert not await queue.contains(KEY)


async def test_waiting_fetch_across_a_killed_broker(broker: EmbeddedStack) -> None:
    """A worker that was waiting for work when the broker died gets the first work after its return."""
    async with open_bus(broker.endpoints().bus) as bus:
        queue = JetStreamWorkQueue(bus.connection, bus.settings)
        fetching = asyncio.create_task(queue.fetch("counter", timeout_seconds=60))
        await bus.connection.replies.round_trip(timeout_seconds=5)
        await broker.kill("nats")
        await broker.restart("nats")
        await queue.dispatch(KEY)
        async with asyncio.timeout(WAIT_SECONDS):
            item = await fetching
        assert item is not None
        assert item.key == KEY


async def test_owner_answers_after_the_broker_is_back(broker: EmbeddedStack) -> None:
    """Whoever served an operation before the outage serves it after."""
    async with open_bus(broker.endpoints().bus) as bus:
        signals = NatsSignals(bus.connection, bus.settings)
        woken = asyncio.Event()

        async def wake() -> None:
            woken.set()

        await signals.serve(Owner("w-1", 1), "op-1", wake)
        async with reconnecting(bus.connection):
            await broker.kill("nats")
            await broker.restart("nats")
        assert await signals.ask_owner("op-1", timeout_seconds=WAIT_SECONDS) == Owner("w-1", 1)
        await signals.notify("op-1")
        async with asyncio.timeout(WAIT_SECONDS):
            await woken.wait()
