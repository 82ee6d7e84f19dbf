"""When each worker was last heard of, also after it is gone from the fleet: a person wants to know since when.

Authority: none; the fleet forgets a silent worker, this remembers it for a while. Failures: the bus away: looked
at again; an orchestrator that has just begun knows nothing and says nothing.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet

log = structlog.get_logger()
LOOK_SECONDS = 5.0
REMEMBERED = timedelta(hours=24)
WORKERS_MAX = 10_000


class Sightings:
    """Remembers the last heartbeat of each worker."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._seen: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look at the fleet every few seconds until cancelled."""
        while True:
            try:
                self.note(await self._fleet.workers())
            except BusUnavailableError as error:
                log.warning("the fleet cannot be read", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def note(self, workers: Iterable[WorkerHeartbeat]) -> None:
        """Remember who is alive; the ones heard of long ago are forgotten."""
        for worker in workers:
            self._seen.pop(worker.worker_id, None)  # so that the oldest are the first
            self._seen[worker.worker_id] = worker.seen_at
        newest = max(self._seen.values(), default=None)
        while newest is not None and self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) <= WORKERS_MAX and newest - self._seen[oldest] <= REMEMBERED:
                return
            del self._seen[oldest]

    def last_seen(self, worker_id: str) -> datetime | None:
        """Return when a worker was last heard of, None when nobody remembers."""
        return self._seen.get(worker_id)
