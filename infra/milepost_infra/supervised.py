"""One service that is kept running until it is told to stop.

States: starting -> running -> (died -> waiting -> running)* -> stopping -> stopped. Authority: after ``stop``
nothing is started again. Failures: a service that dies is started again after a delay that doubles with each
quick death, up to ``BACKOFF_SECONDS_MAX``, and begins anew once it has run for ``STEADY_SECONDS``.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

from milepost_runtime.clock import Clock

from milepost_infra.child_log import tail
from milepost_infra.embedded.child_process import ChildProcess, Launch
from milepost_infra.embedded.guard import Guard

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 10.0
STEADY_SECONDS = 30.0
log = logging.getLogger(__name__)


def backoff_seconds(deaths: int) -> float:
    """Return how long to wait before the start after the ``deaths``-th quick death in a row."""
    return min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(deaths - 1, 16))


class SupervisedService:
    """A child process that comes back; ``on_change`` is called whenever its pid changes."""

    def __init__(
        self,
        launch: Launch,
        guard: Guard,
        clock: Clock,
        *,
        stop_seconds_max: float,
        on_change: Callable[[], object],
    ) -> None:
        self.launch = launch
        self.deaths = 0
        """How often it has died by itself since it was last steady."""
        self._guard = guard
        self._clock = clock
        self._stop_seconds_max = stop_seconds_max
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._child: ChildProcess | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Its name, also of its log."""
        return self.launch.name

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    async def start(self) -> None:
        """Start it for the first time; from now on it is kept running."""
        child = await ChildProcess.start(self.launch, self._guard)
        self._child = child
        self._task = asyncio.create_task(self._keep_running(child), name=f"keep {self.name}")

    async def stop(self) -> None:
        """SIGTERM, wait, SIGKILL when it takes too long; harmless when it does not run."""
        self._stopping.set()
        if self._child is not None:
            await self._child.stop(signal.SIGTERM, seconds_max=self._stop_seconds_max)
        if self._task is not None:
            await self._task
            self._task = None

    def last_log_lines(self) -> str:
        """Return the end of its log."""
        return tail(self.launch.log)

    async def _keep_running(self, child: ChildProcess) -> None:
        while True:
            started = self._clock.monotonic_seconds()
            code = await child.wait_ended()
            if self._stopping.is_set():
                return
            if self._clock.monotonic_seconds() - started > STEADY_SECONDS:
                self.deaths = 0
            self.deaths += 1
            delay_seconds = backoff_seconds(self.deaths)
            log.warning("%s ended with code %s; starts again in %.1f s", self.name, code, delay_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_seconds)
            if self._stopping.is_set():
                return
            child = await ChildProcess.start(self.launch, self._guard)
            self._child = child
            self._on_change()
            if self._stopping.is_set():
                # ``stop`` saw the dead one; this one is nobody else's.
                await child.stop(signal.SIGTERM, seconds_max=self._stop_seconds_max)
                return
