"""An event loop without a world: time passes when nothing else can happen, and threads are not there.

Whatever runs on it is a function of what it was given: no clock of the machine, no thread, no socket decides when
something happens.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from milepost_runtime.testing.clock import START, ManualClock


class _NoWorld(selectors.SelectSelector):
    """Waits for nothing; the loop's time is moved instead."""

    passed: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing can ever happen any more: everybody waits for somebody")
        self.passed(timeout)
        return []


class SimulationLoop(asyncio.SelectorEventLoop):
    """Jumps to the time of whoever is to be woken next."""

    def __init__(self) -> None:
        self._seconds = 0.0
        selector = _NoWorld()
        selector.passed = self._pass
        super().__init__(selector)

    def time(self) -> float:
        """Return the simulated seconds since the start."""
        return self._seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call at once what would be called in a thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it, also a death
            future.set_exception(error)
        return future

    def _pass(self, seconds: float) -> None:
        self._seconds += seconds


class SimulationClock(ManualClock):
    """The loop's time, and the nights that were skipped."""

    def __init__(self, loop: SimulationLoop) -> None:
        super().__init__()
        self._loop = loop
        self._skipped_seconds = 0.0

    def now(self) -> datetime:
        """Return the simulated present."""
        return START + timedelta(seconds=self._loop.time() + self._skipped_seconds)

    def monotonic_seconds(self) -> float:
        """Return the loop's seconds: leases do not run while a night is skipped."""
        return self._loop.time()

    def skip(self, seconds: float) -> None:
        """Let the calendar move on, and nothing else."""
        self._skipped_seconds += seconds
