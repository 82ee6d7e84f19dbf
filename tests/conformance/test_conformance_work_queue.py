"""What every work queue must do: one suite, run against the double and against JetStream."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from milepost_contracts.errors import SubjectError
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.testing.clock import ManualClock
from milepost_runtime.testing.work_queue import MemoryWorkQueue
from milepost_runtime.work_queue import WorkItem, WorkKey, WorkQueue

from tests.runtime_bus.bus_support import Bus

LEASE_SECONDS = 1.0
SOON = 0.3
"""Long enough for an answer, shorter than a lease."""
LATER = 10.0
"""Longer than anything that is waited for."""
KEY = WorkKey("counter", "default", "op-1")
OTHER = WorkKey("counter", "fast", "op-2")

Passing = Callable[[float], Awaitable[None]]


async def fetched(queue: WorkQueue, seconds: float = LATER, kind: str = "counter") -> WorkItem:
    """The next piece of work; fail when there is none."""
    item = await queue.fetch(kind, timeout_seconds=seconds)
    assert item is not None, "no work"
    return item


class WorkQueueConformance:
    """The suite; a subclass brings ``queue``, and ``let_pass`` which lets time go by."""

    async def test_work_is_given_out(self, queue: WorkQueue) -> None:
        """What was put in is what a worker gets, first delivery."""
        assert await queue.dispatch(KEY)
        item = await fetched(queue)
        assert item.key == KEY
        assert item.deliveries == 1

    async def test_what_has_a_higher_priority_is_given_out_first(self, queue: WorkQueue) -> None:
        """Among equals the oldest; each piece once, whatever order it was put in."""
        priorities = {"op-a": 0, "op-b": 5, "op-c": 0, "op-d": 9, "op-e": 5}
        for operation_id, priority in priorities.items():
            assert await queue.dispatch(WorkKey("counter", "default", operation_id), priority=priority)
        given = [(await fetched(queue, 0)).key.operation_id for _ in priorities]
        assert given == ["op-d", "op-b", "op-e", "op-a", "op-c"]
        assert await queue.fetch("counter", timeout_seconds=0) is None

    async def test_what_waits_can_be_given_another_place(self, queue: WorkQueue) -> None:
        """Up or down; what a worker has keeps its lease, and what is not there stays away."""
        keys = {name: WorkKey("counter", "default", name) for name in ("op-a", "op-b", "op-c", "op-d")}
        for key in keys.values():
            await queue.dispatch(key, priority=1)
        leased = await fetched(queue, 0)
        assert leased.key == keys["op-a"]
        await queue.prioritize(keys["op-c"], 7)
        await queue.prioritize(keys["op-b"], 0)
        await queue.prioritize(leased.key, 9)
        await queue.prioritize(WorkKey("counter", "default", "op-nobody"), 9)
        given = [(await fetched(queue, 0)).key.operation_id for _ in range(3)]
        assert given == ["op-c", "op-d", "op-b"]
        assert await queue.fetch("counter", timeout_seconds=0) is None
        await leased.done()
        assert not await queue.contains(leased.key)

    async def test_empty_queue_gives_nothing(self, queue: WorkQueue) -> None:
        """Without work a fetch ends after its time."""
        assert await queue.fetch("counter", timeout_seconds=0.05) is None

    async def test_fetch_that_does_not_wait(self, queue: WorkQueue) -> None:
        """A fetch of no time takes what is there and nothing else."""
        assert await queue.fetch("counter", timeout_seconds=0) is None
        await queue.dispatch(KEY)
        assert (await fetched(queue, 0)).key == KEY

    async def test_fetch_waits_for_work(self, queue: WorkQueue) -> None:
        """Work put in while a worker waits reaches it at once."""
        waiting = asyncio.create_task(fetched(queue))
        await asyncio.sleep(0)
        await queue.dispatch(KEY)
        assert (await waiting).key == KEY

    async def test_one_message_for_an_operation(self, queue: WorkQueue) -> None:
        """Dispatching again does nothing while the work waits or is leased."""
        assert await queue.dispatch(KEY)
        assert not await queue.dispatch(KEY)
        await fetched(queue)
        assert not await queue.dispatch(KEY)
        assert await queue.fetch("counter", timeout_seconds=SOON) is None

    async def test_dispatching_at_once(self, queue: WorkQueue) -> None:
        """Of many that dispatch the same operation at the same moment one puts it in."""
        assert sorted(await asyncio.gather(*(queue.dispatch(KEY) for _ in range(10)))) == [False] * 9 + [True]

    async def test_contains_from_dispatch_to_done(self, queue: WorkQueue) -> None:
        """Work is there from its dispatch until it is done, leased or not."""
        assert not await queue.contains(KEY)
        await queue.dispatch(KEY)
        assert await queue.contains(KEY)
        item = await fetched(queue)
        assert await queue.contains(KEY)
        await item.done()
        assert not await queue.contains(KEY)
        assert not await queue.contains(OTHER)

    async def test_done_work_can_be_put_in_again(self, queue: WorkQueue) -> None:
        """After the end the same operation counts as new."""
        await queue.dispatch(KEY)
        await (await fetched(queue)).done()
        assert await queue.dispatch(KEY)
        assert (await fetched(queue)).deliveries == 1

    async def test_two_workers_share(self, queue: WorkQueue) -> None:
        """Each piece of work goes to one worker."""
        await queue.dispatch(KEY)
        await queue.dispatch(OTHER)
        keys = {item.key for item in await asyncio.gather(fetched(queue), fetched(queue))}
        assert keys == {KEY, OTHER}

    async def test_kinds_are_apart(self, queue: WorkQueue) -> None:
        """A worker gets work of its own kind only, of every queue."""
        await queue.dispatch(WorkKey("trainer", "default", "op-3"))
        assert await queue.fetch("counter", timeout_seconds=SOON) is None
        assert (await fetched(queue, kind="trainer")).key.operation_id == "op-3"

    async def test_lease_runs_out(self, queue: WorkQueue, let_pass: Passing) -> None:
        """Work of a worker that says nothing goes to another, counted as delivered again."""
        await queue.dispatch(KEY)
        await fetched(queue)
        await let_pass(LEASE_SECONDS)
        assert (await fetched(queue)).deliveries == 2

    async def test_renewed_lease_is_kept(self, queue: WorkQueue, let_pass: Passing) -> None:
        """A worker that renews in time keeps its work however long it takes."""
        await queue.dispatch(KEY)
        item = await fetched(queue)
        for _ in range(4):
            await let_pass(LEASE_SECONDS / 2)
            await item.renew()
        assert await queue.fetch("counter", timeout_seconds=LEASE_SECONDS / 4) is None
        await item.done()
        assert not await queue.contains(KEY)

    async def test_given_back_at_once(self, queue: WorkQueue) -> None:
        """Work that is given back goes to the next worker without waiting for the lease."""
        await queue.dispatch(KEY)
        await (await fetched(queue)).give_back()
        assert (await fetched(queue, SOON)).deliveries == 2

    async def test_given_back_for_later(self, queue: WorkQueue, let_pass: Passing) -> None:
        """Work that is given back with a delay waits for it, and is there meanwhile."""
        await queue.dispatch(KEY)
        await (await fetched(queue)).give_back(delay_seconds=LEASE_SECONDS * 2)
        assert await queue.fetch("counter", timeout_seconds=0) is None
        assert await queue.contains(KEY)
        await let_pass(LEASE_SECONDS * 2)
        assert (await fetched(queue)).key == KEY

    async def test_removed_work_is_gone(self, queue: WorkQueue) -> None:
        """Work of an operation that ended without an owner disappears, and only that."""
        await queue.dispatch(KEY)
        await queue.dispatch(OTHER)
        await queue.remove(KEY)
        assert not await queue.contains(KEY)
        assert (await fetched(queue)).key == OTHER
        assert await queue.fetch("counter", timeout_seconds=SOON) is None

    async def test_leased_work_can_be_removed(self, queue: WorkQueue, let_pass: Passing) -> None:
        """Removed while leased, the work stays away when the lease ends; what its owner says is harmless."""
        await queue.dispatch(KEY)
        item = await fetched(queue)
        await queue.remove(KEY)
        await item.renew()
        await item.give_back()
        await item.done()
        await let_pass(LEASE_SECONDS)
        assert await queue.fetch("counter", timeout_seconds=SOON) is None
        assert not await queue.contains(KEY)

    async def test_removing_nothing(self, queue: WorkQueue) -> None:
        """Removing what is not there is no error."""
        await queue.remove(KEY)
        assert not await queue.contains(KEY)

    async def test_cancelled_fetch_loses_nothing(self, queue: WorkQueue) -> None:
        """Work that comes when its fetch has just been cancelled goes to the next worker without delay."""
        waiting = asyncio.create_task(queue.fetch("counter", timeout_seconds=LATER))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await queue.dispatch(KEY)
        assert (await fetched(queue, SOON)).key == KEY

    async def test_name_that_is_no_token_is_refused(self, queue: WorkQueue) -> None:
        """A key that would change the meaning of a subject is never put in."""
        with pytest.raises(SubjectError):
            await queue.dispatch(WorkKey("counter", "a.b", "op-1"))


@pytest.mark.unit
class TestMemoryWorkQueue(WorkQueueConformance):
    """The double."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def queue(self, clock: ManualClock) -> WorkQueue:
        return MemoryWorkQueue(clock, lease_seconds=LEASE_SECONDS)

    @pytest.fixture
    def let_pass(self, clock: ManualClock) -> Passing:
        async def passing(seconds: float) -> None:
            clock.advance(seconds)

        return passing


@pytest.mark.integration
class TestJetStreamWorkQueue(WorkQueueConformance):
    """The real one, with real leases."""

    @pytest.fixture
    async def queue(self, bus: Bus) -> WorkQueue:
        await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=LEASE_SECONDS)
        return JetStreamWorkQueue(bus.connection, bus.settings, lease_seconds=LEASE_SECONDS)

    @pytest.fixture
    def let_pass(self) -> Passing:
        return asyncio.sleep  # the server's clock cannot be set
