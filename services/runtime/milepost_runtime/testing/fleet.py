"""The fleet and the kinds in memory; workers vanish when the test's clock says so."""

from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription

from milepost_runtime.testing.clock import ManualClock

TTL_SECONDS = 15.0


class MemoryFleet:
    """Implements ``Fleet``."""

    def __init__(self, clock: ManualClock | None = None, *, ttl_seconds: float = TTL_SECONDS) -> None:
        self._clock = clock or ManualClock()
        self._ttl_seconds = ttl_seconds
        self._beats: dict[str, tuple[float, WorkerHeartbeat]] = {}

    async def beat(self, heartbeat: WorkerHeartbeat) -> None:
        """Say that the worker lives; see the port."""
        self._beats[heartbeat.worker_id] = (self._clock.monotonic_seconds(), heartbeat)

    async def leave(self, worker_id: str) -> None:
        """Take the worker out at once; see the port."""
        self._beats.pop(worker_id, None)

    async def workers(self) -> list[WorkerHeartbeat]:
        """Return the live workers, sorted by id; see the port."""
        oldest = self._clock.monotonic_seconds() - self._ttl_seconds
        live = [heartbeat for seen, heartbeat in self._beats.values() if seen > oldest]
        return sorted(live, key=lambda heartbeat: heartbeat.worker_id)


class MemoryKindCatalogue:
    """Implements ``KindCatalogue``."""

    def __init__(self) -> None:
        self._kinds: dict[str, KindDescription] = {}

    async def announce(self, description: KindDescription) -> None:
        """Publish what specs of a kind must look like; see the port."""
        self._kinds[description.kind] = description

    async def describe(self, kind: str) -> KindDescription | None:
        """Return a kind's description; see the port."""
        return self._kinds.get(kind)

    async def kinds(self) -> list[KindDescription]:
        """Return all descriptions, sorted by kind; see the port."""
        return [self._kinds[kind] for kind in sorted(self._kinds)]
