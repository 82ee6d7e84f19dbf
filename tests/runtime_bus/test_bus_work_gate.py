"""The gate on the work queue: what is held is given to nobody, what is limited to so many at a time."""

import asyncio

from milepost_contracts.dispatch import DispatchPolicy, Hold
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_gate import JetStreamWorkGate
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.work_queue import WorkKey

from tests.runtime_bus.bus_support import NOW, Bus, open_bus

SOON = 0.3
LATER = 10.0
HOLD = Hold(requested_by="/test", since=NOW)


async def put_in(queue: JetStreamWorkQueue, count: int, kind: str = "counter") -> None:
    for number in range(count):
        await queue.dispatch(WorkKey(kind, "default", f"op-{kind}-{number}"))


async def test_a_held_kind_is_given_to_nobody_until_released(bus: Bus) -> None:
    """Others are; a worker that waits already is served at once after the release."""
    queue, gate = (
        JetStreamWorkQueue(bus.connection, bus.settings),
        JetStreamWorkGate(bus.connection, bus.settings),
    )
    for kind in ("counter", "other"):
        await ensure_work_consumer(bus.connection, bus.settings, kind, lease_seconds=10)
    await gate.apply(DispatchPolicy(held_kinds={"counter": HOLD}))
    await put_in(queue, 1)
    await put_in(queue, 1, "other")
    assert await queue.fetch("other", timeout_seconds=LATER) is not None
    assert await queue.fetch("counter", timeout_seconds=SOON) is None
    waiting = asyncio.create_task(queue.fetch("counter", timeout_seconds=2 * LATER))
    await asyncio.sleep(SOON)
    assert not waiting.done()
    await gate.apply(DispatchPolicy())
    async with asyncio.timeout(LATER / 2):
        assert await waiting is not None


async def test_a_kind_that_comes_later_is_held_with_all(bus: Bus) -> None:
    """Its worker makes the consumer, and makes it held; leases of what runs are renewed all the same."""
    queue, gate = (
        JetStreamWorkQueue(bus.connection, bus.settings),
        JetStreamWorkGate(bus.connection, bus.settings),
    )
    await put_in(queue, 1, "running")
    running = await queue.fetch("running", timeout_seconds=LATER)
    assert running is not None
    await gate.apply(DispatchPolicy(held=HOLD))
    await put_in(queue, 1)
    assert await queue.fetch("counter", timeout_seconds=SOON) is None
    await running.renew()
    await running.done()
    assert not await queue.contains(running.key)


async def test_no_more_than_the_limit_are_at_workers(bus: Bus) -> None:
    """Also after a worker that wants a longer lease has joined; done makes room, a higher limit makes room."""
    queue, gate = (
        JetStreamWorkQueue(bus.connection, bus.settings),
        JetStreamWorkGate(bus.connection, bus.settings),
    )
    await gate.apply(DispatchPolicy(limits={"counter": 2}))
    await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=10)
    await put_in(queue, 5)
    first = await queue.fetch("counter", timeout_seconds=LATER)
    second = await queue.fetch("counter", timeout_seconds=LATER)
    assert first is not None
    assert second is not None
    async with open_bus(bus.settings) as joining:
        await ensure_work_consumer(joining.connection, joining.settings, "counter", lease_seconds=20)
        theirs = JetStreamWorkQueue(joining.connection, joining.settings)
        assert await theirs.fetch("counter", timeout_seconds=SOON) is None
        waiting = asyncio.create_task(theirs.fetch("counter", timeout_seconds=2 * LATER))
        await first.done()
        assert await waiting is not None
        waiting = asyncio.create_task(theirs.fetch("counter", timeout_seconds=2 * LATER))
        await asyncio.sleep(SOON)
        assert not waiting.done()
        await gate.apply(DispatchPolicy(limits={"counter": 3}))
        async with asyncio.timeout(LATER / 2):
            assert await waiting is not None
        assert await theirs.fetch("counter", timeout_seconds=SOON) is None
        await gate.apply(DispatchPolicy())
        assert await theirs.fetch("counter", timeout_seconds=LATER) is not None
