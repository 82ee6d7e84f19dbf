"""The work queue on JetStream, where it differs from a dictionary: consumers that vanish, fetches that are cut."""

import asyncio

import pytest
from milepost_runtime.bus.work_consumer import ensure_work_consumer, work_lease
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.work_queue import WorkKey

from tests.runtime_bus.bus_support import Bus, open_bus, reconnecting
from tests.runtime_bus.proxy import Proxy

pytestmark = pytest.mark.integration

LEASE_SECONDS = 30.0
WAIT_SECONDS = 15.0
"""Shorter than a lease: what comes within it was not waited out."""
KEY = WorkKey("counter", "default", "op-1")


@pytest.fixture
async def queue(bus: Bus) -> JetStreamWorkQueue:
    await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=LEASE_SECONDS)
    return JetStreamWorkQueue(bus.connection, bus.settings)


async def consumer_info(bus: Bus) -> dict:
    stream, name = bus.topology.work, bus.topology.work_consumer("counter")
    return await bus.jetstream.call(f"CONSUMER.INFO.{stream}.{name}")


async def until_waiting(bus: Bus, count: int) -> None:
    """Return once ``count`` fetches wait on the server."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (await consumer_info(bus))["num_waiting"] != count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def test_cancelled_fetch_gives_back_what_comes(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """Work delivered to a fetch that was cancelled goes to the next worker at once, not after its lease."""
    fetching = asyncio.create_task(queue.fetch("counter", timeout_seconds=60))
    await until_waiting(bus, 1)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    await queue.dispatch(KEY)
    item = await queue.fetch("counter", timeout_seconds=WAIT_SECONDS)
    assert item is not None
    assert (item.key, item.deliveries) == (KEY, 2)


async def test_cancel_at_every_moment_loses_nothing(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """However the cancel and the delivery meet, the work is with the worker or free again."""
    for turns in range(0, 60, 3):
        await queue.dispatch(KEY)
        fetching = asyncio.create_task(queue.fetch("counter", timeout_seconds=60))
        for _ in range(turns):
            await asyncio.sleep(0)
        fetching.cancel()
        (item,) = await asyncio.gather(fetching, return_exceptions=True)
        if isinstance(item, asyncio.CancelledError):
            item = await queue.fetch("counter", timeout_seconds=WAIT_SECONDS)
        assert item is not None
        await item.done()
        assert not await queue.contains(KEY)


async def test_fetch_that_ran_out_leaves_nothing_waiting(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """After its time a fetch waits nowhere, not on the server either."""
    assert await queue.fetch("counter", timeout_seconds=0.1) is None
    await until_waiting(bus, 0)


async def test_deleted_consumer_is_made_again(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """A waiting worker whose consumer was deleted makes it again, with its lease, and gets the work."""
    fetching = asyncio.create_task(queue.fetch("counter", timeout_seconds=60))
    await until_waiting(bus, 1)
    stream, name = bus.topology.work, bus.topology.work_consumer("counter")
    await bus.jetstream.call(f"CONSUMER.DELETE.{stream}.{name}")
    await queue.dispatch(KEY)
    async with asyncio.timeout(WAIT_SECONDS):
        item = await fetching
    assert item is not None
    assert item.key == KEY
    assert await work_lease(bus.connection, bus.settings, "counter") == LEASE_SECONDS


async def test_first_fetch_of_a_kind_makes_its_consumer(bus: Bus) -> None:
    """A worker that finds no consumer makes one with the lease it was given."""
    queue = JetStreamWorkQueue(bus.connection, bus.settings, lease_seconds=7.0)
    assert await queue.fetch("fresh", timeout_seconds=0.05) is None
    assert await work_lease(bus.connection, bus.settings, "fresh") == 7.0


async def test_failing_consumer_is_no_hot_loop(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """A fetch that fails at once is repeated with pauses."""
    assert await queue.fetch("counter", timeout_seconds=0) is None
    await bus.jetstream.call(f"STREAM.DELETE.{bus.topology.work}")
    before = bus.connection.stats["out_msgs"]
    with pytest.raises(Exception, match=r"stream not found|nobody listens"):
        await queue.fetch("counter", timeout_seconds=1.0)
    assert bus.connection.stats["out_msgs"] - before < 30


async def test_fetch_survives_a_cut(bus: Bus, queue: JetStreamWorkQueue, proxy: Proxy) -> None:
    """A worker whose connection breaks while it waits gets its work over the next one."""
    async with open_bus(proxy.settings) as cut_off:
        other = JetStreamWorkQueue(cut_off.connection, cut_off.settings)
        fetching = asyncio.create_task(other.fetch("counter", timeout_seconds=60))
        await until_waiting(bus, 1)
        async with reconnecting(cut_off.connection):
            proxy.cut()
        await queue.dispatch(KEY)
        async with asyncio.timeout(WAIT_SECONDS):
            item = await fetching
        assert item is not None
        assert item.key == KEY


async def test_each_piece_of_work_once_among_many_workers(bus: Bus, queue: JetStreamWorkQueue) -> None:
    """Two hundred operations over five workers: each is given out exactly once."""
    keys = {WorkKey("counter", "default", f"op-{number}") for number in range(200)}
    await asyncio.gather(*(queue.dispatch(key) for key in keys))
    given: list[WorkKey] = []

    async def work() -> None:
        while (item := await queue.fetch("counter", timeout_seconds=0)) is not None:
            given.append(item.key)
            await item.done()

    await asyncio.gather(*(work() for _ in range(5)))
    assert len(given) == len(keys)
    assert set(given) == keys
