"""A work queue in memory; leases run out when the test's clock says so."""

import asyncio
from dataclasses import dataclass, field

from milepost_contracts.subjects import Subjects

from milepost_runtime.testing.clock import ManualClock
from milepost_runtime.work_queue import WorkKey

LEASE_SECONDS = 10.0


@dataclass
class _Work:
    key: WorkKey
    free_at_seconds: float
    priority: int = field(default=0, kw_only=True)
    """Waiting from then on; before that leased, or given back with a delay."""
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class MemoryWorkItem:
    """Implements ``WorkItem``."""

    key: WorkKey
    deliveries: int
    _queue: "MemoryWorkQueue" = field(repr=False)

    async def renew(self) -> None:
        """Start the lease anew; see the port."""
        self._queue.lease(self.key)

    async def done(self) -> None:
        """Remove the work for good; see the port."""
        await self._queue.remove(self.key)

    async def give_back(self, *, delay_seconds: float = 0.0) -> None:
        """End the lease; see the port."""
        self._queue.release(self.key, delay_seconds)


class MemoryWorkQueue:
    """Implements ``WorkQueue`` for one event loop."""

    def __init__(self, clock: ManualClock | None = None, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._clock = clock or ManualClock()
        self._clock.on_advance(self._changed_now)
        self._lease_seconds = lease_seconds
        self._works: dict[WorkKey, _Work] = {}
        self._changed = asyncio.Event()

    @property
    def priorities(self) -> dict[WorkKey, int]:
        """Everything that is waiting or leased, with its priority."""
        return {key: work.priority for key, work in self._works.items()}

    async def dispatch(self, key: WorkKey, *, priority: int = 0) -> bool:
        """Put work in, unless it is there; see the port."""
        Subjects().work(key.kind, key.queue, key.operation_id)  # the same names are refused
        if key in self._works:
            return False
        self._works[key] = _Work(key, self._clock.monotonic_seconds(), priority=priority)
        self._changed_now()
        return True

    async def prioritize(self, key: WorkKey, priority: int) -> None:
        """Give work another place; see the port."""
        if key in self._works and self._works[key].deliveries == 0:
            self._works[key].priority = priority

    async def contains(self, key: WorkKey) -> bool:
        """Say whether the work is waiting or leased; see the port."""
        return key in self._works

    async def remove(self, key: WorkKey) -> None:
        """Remove the work; see the port."""
        self._works.pop(key, None)

    async def fetch(self, kind: str, *, timeout_seconds: float) -> MemoryWorkItem | None:
        """Return exactly one piece of work; see the port. The timeout is in real seconds."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (work := self._free(kind)) is None:
                    await self._changed.wait()
        except TimeoutError:
            return None
        work.deliveries += 1
        self.lease(work.key)
        return MemoryWorkItem(work.key, work.deliveries, self)

    def lease(self, key: WorkKey) -> None:
        """Start a lease, if the work is still there."""
        if key in self._works:
            self._works[key].free_at_seconds = self._clock.monotonic_seconds() + self._lease_seconds

    def release(self, key: WorkKey, delay_seconds: float) -> None:
        """End a lease, if the work is still there."""
        if key in self._works:
            self._works[key].free_at_seconds = self._clock.monotonic_seconds() + delay_seconds
            self._changed_now()

    def _free(self, kind: str) -> _Work | None:
        now = self._clock.monotonic_seconds()
        free = [
            each for each in self._works.values() if each.key.kind == kind and each.free_at_seconds <= now
        ]
        return min(free, key=lambda work: (work.deliveries == 0, -work.priority), default=None)

    def _changed_now(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
