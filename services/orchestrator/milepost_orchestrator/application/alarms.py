"""Alarms: each key is seen to at its time, by whoever ``run`` was given.

States of an alarm: expected -> rung -> gone, or expected again at the time that the deed returned. Authority:
none; an alarm only says when to look, and what is found then is in the log. Failures: a deed that fails because
something is away is tried again in a moment; alarms are in memory, and whoever finds their cause in the log (the
reactor, the sweeper) sets them again after a restart.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from milepost_runtime.clock import Clock
from milepost_runtime.errors import RuntimeServiceError

log = structlog.get_logger()
RETRY_SECONDS = 1.0


class Alarms:
    """Keeps the earliest time of each key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: dict[str, datetime] = {}
        self._changed = asyncio.Event()

    @property
    def expected(self) -> dict[str, datetime]:
        """What is waited for, and until when."""
        return dict(self._times)

    def expect(self, key: str, at: datetime) -> None:
        """Ring for ``key`` at that time, or earlier if that was asked for before."""
        before = self._times.get(key)
        if before is None or at < before:
            self._times[key] = at
            self._changed.set()

    async def run(self, deed: Callable[[str], Awaitable[datetime | None]]) -> None:
        """Call ``deed`` with each key at its time, until cancelled; it returns when to call again, or None."""
        while True:
            self._changed.clear()
            for key in self._due():
                await self._ring(key, deed)
            await self._wait()

    def _due(self) -> list[str]:
        now = self._clock.now()
        return [key for key, at in self._times.items() if at <= now]

    async def _ring(self, key: str, deed: Callable[[str], Awaitable[datetime | None]]) -> None:
        del self._times[key]
        try:
            again = await deed(key)
        except RuntimeServiceError as error:
            log.warning("put off", key=key, reason=str(error))
            again = self._clock.now() + timedelta(seconds=RETRY_SECONDS)
        if again is not None:
            self.expect(key, again)

    async def _wait(self) -> None:
        """Return when the earliest time has come, or another one was asked for."""
        seconds = None
        if self._times:
            seconds = max((min(self._times.values()) - self._clock.now()).total_seconds(), 0.0)
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return  # it is time
