"""The fleet as many readers look at it: read once in a while, whoever asks, and rendered once."""

import asyncio

import structlog
from milepost_runtime.clock import Clock
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet

from milepost_orchestrator.application.live import rendered

log = structlog.get_logger()
FLEET_SECONDS = 2.0


class FleetView:
    """The live workers, at most ``FLEET_SECONDS`` old."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._json: bytes | None = None

    async def json(self) -> bytes | None:
        """Return the workers; the very same object until they differ. None while they cannot be read."""
        async with self._reading:
            now = self._clock.monotonic_seconds()
            if self._read_at is None or now - self._read_at >= FLEET_SECONDS:
                self._read_at = now
                await self._read()
        return self._json

    async def _read(self) -> None:
        try:
            workers = await self._fleet.workers()
        except BusUnavailableError as error:
            log.warning("the fleet cannot be read", reason=str(error))
            return
        found = rendered({"workers": [worker.model_dump(mode="json") for worker in workers]})
        if found != self._json:
            self._json = found
