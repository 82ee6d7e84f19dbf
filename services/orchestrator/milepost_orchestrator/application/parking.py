"""Keeps work that only some workers may have out of the queue until one of those is free.

The queue of a kind gives its work to whichever worker asks next, so a worker that may not have what it gets must
give it back, and until somebody may have it that happens again and again: ahead of everything behind it, and on
a kind with a limit in the place of something that could run. So work with needs is put in when a worker that has
what it needs has a free slot, one for each such slot, and is taken out again when that worker is gone or was
faster with something else.

States of queued work with needs: parked -> in the queue, a free worker may have it -> claimed | parked again.
Authority: the fleet's heartbeats say who is free, the log whether it is still queued; workers look at the needs
themselves before they claim. Failures: several orchestrators, or a heartbeat that is late: one too many is in the
queue until the next look; one that was taken out while it was claimed is put in again by the sweeper.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from milepost_contracts.capabilities import Needs, lacking
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet
from milepost_runtime.work_queue import WorkKey, WorkQueue

from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.operation import Queued

log = structlog.get_logger()
LOOK_SECONDS = 2.0
LOOKED_AT_MAX = 5000
LOOKS_REMEMBERED = 30
"""So often what is known to be out of the queue is not looked up again."""


@dataclass(frozen=True, slots=True)
class NeedingWork:
    """Queued work, and what its worker must have."""

    work: WorkKey
    needs: Needs
    priority: int


class NeedingOperations(Protocol):
    """Reads what is queued and has needs; raises ``DatabaseUnavailableError`` when it is away."""

    async def needing_work(self, limit: int) -> list[NeedingWork]:
        """Return it by priority, among equals the oldest first."""
        ...


class Admission:
    """Says whether work may go into the queue now."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def admits(self, kind: str, needs: Needs | None) -> bool:
        """Say whether a worker that may have it is free; work without needs may always go in.

        Raises:
            BusUnavailableError: the fleet cannot be read.
        """
        if not asks_for_something(needs):
            return True
        return _FreeSlots(await self._fleet.workers()).take(kind, needs)


class Parking:
    """Puts parked work in when its worker is free, and parks what nobody free may have."""

    def __init__(
        self, waiting: NeedingOperations, operations: Operations, work_queue: WorkQueue, fleet: Fleet
    ) -> None:
        self._waiting = waiting
        self._operations = operations
        self._work_queue = work_queue
        self._fleet = fleet
        self._parked: set[str] = set()
        self._looks = 0

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except (DatabaseUnavailableError, BusUnavailableError) as error:
                log.warning("parking put off", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Bring the queue to what free workers may have.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: not finished; repeating is safe.
        """
        found = await self._waiting.needing_work(LOOKED_AT_MAX)
        self._remember(each.work.operation_id for each in found)
        if not found:
            return
        free = _FreeSlots(await self._fleet.workers())
        for each in found:
            if free.take(each.work.kind, each.needs):
                await self._put_in(each)
            elif each.work.operation_id not in self._parked:
                await self._take_out(each)

    def _remember(self, queued: Iterable[str]) -> None:
        self._looks += 1
        self._parked = set() if self._looks % LOOKS_REMEMBERED == 0 else self._parked & set(queued)

    async def _put_in(self, found: NeedingWork) -> None:
        self._parked.discard(found.work.operation_id)
        if isinstance(await self._operations.load(found.work.operation_id), Queued):
            await self._work_queue.dispatch(found.work, priority=found.priority)

    async def _take_out(self, found: NeedingWork) -> None:
        operation_id = found.work.operation_id
        if await self._work_queue.contains(found.work):
            if not isinstance(await self._operations.load(operation_id), Queued):
                return  # claimed meanwhile
            log.info("parked", operation_id=operation_id, kind=found.work.kind)
            await self._work_queue.remove(found.work)
        self._parked.add(operation_id)


def asks_for_something(needs: Needs | None) -> bool:
    """Say whether not every worker of the kind will do."""
    return needs is not None and needs != Needs()


class _FreeSlots:
    """The free slots of the fleet, taken one by one."""

    def __init__(self, workers: Sequence[WorkerHeartbeat]) -> None:
        self._workers = workers
        self._refused: set[tuple[str, Needs | None]] = set()
        self._free = {each.worker_id: each.slots - len(each.operations) for each in workers}

    def take(self, kind: str, needs: Needs | None) -> bool:
        """Take a slot of a worker that may have it; of those the one that could do the least else."""
        if (kind, needs) in self._refused:
            return False
        able = [
            each
            for each in self._workers
            if each.kind == kind
            and each.drain is None
            and self._free[each.worker_id] > 0
            and not lacking(needs, each.capabilities)
        ]
        if not able:
            self._refused.add((kind, needs))
            return False
        self._free[min(able, key=_richness).worker_id] -= 1
        return True


def _richness(worker: WorkerHeartbeat) -> tuple[int, int, int]:
    has = worker.capabilities
    return has.gpus, len(has.labels), has.memory_bytes
