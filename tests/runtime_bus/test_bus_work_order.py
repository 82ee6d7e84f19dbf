"""The order of the queue while it is being emptied: nothing is lost, whatever changes its place meanwhile."""

import asyncio
import random

from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.work_queue import WorkKey

from tests.runtime_bus.bus_support import Bus, open_bus

COUNT = 40
PATIENCE_SECONDS = 60.0


async def test_nothing_is_lost_while_order_and_workers_race(bus: Bus) -> None:
    """Two orchestrators put in and reorder while three workers take: each is given out, the queue ends empty."""
    keys = [WorkKey("counter", "default", f"op-{number}") for number in range(COUNT)]
    chance = random.Random(7)
    ended: set[WorkKey] = set()
    queue = JetStreamWorkQueue(bus.connection, bus.settings)

    async def orchestrator(orders: JetStreamWorkQueue, own: list[WorkKey]) -> None:
        for key in own:
            await orders.dispatch(key, priority=chance.randrange(3))
            await orders.prioritize(chance.choice(own), chance.randrange(5))

    async def work() -> None:
        while len(ended) < COUNT:
            item = await queue.fetch("counter", timeout_seconds=0.2)
            if item is not None:
                ended.add(item.key)  # as a claim and a terminal event would be in the log
                await item.done()

    async with asyncio.timeout(PATIENCE_SECONDS), open_bus(bus.settings) as other:
        second = JetStreamWorkQueue(other.connection, other.settings)
        await asyncio.gather(
            orchestrator(queue, keys[::2]), orchestrator(second, keys[1::2]), work(), work(), work()
        )
        while (item := await queue.fetch("counter", timeout_seconds=0)) is not None:
            assert item.key in ended, "given out twice is settled by the log; unknown work is not"
            await item.done()
    assert ended == set(keys)
    assert not any([await queue.contains(key) for key in keys])
