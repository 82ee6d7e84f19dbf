"""Wait for a bus or store that is away: the one level at which outages are retried."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from milepost_runtime.clock import Clock
from milepost_runtime.errors import BusUnavailableError, StoreUnavailableError

log = structlog.get_logger()
ResultT = TypeVar("ResultT")
FIRST_DELAY_SECONDS = 0.1
DELAY_SECONDS_MAX = 2.0


async def patiently(
    action: Callable[[], Awaitable[ResultT]], *, what: str, clock: Clock, patience_seconds: float
) -> ResultT:
    """Return the action's result, repeating it while bus or store are away.

    ``action`` must be safe to repeat. The delay doubles up to two seconds.

    Raises:
        BusUnavailableError, StoreUnavailableError: still away after ``patience_seconds``.
    """
    deadline = clock.monotonic_seconds() + patience_seconds
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await action()
        except (BusUnavailableError, StoreUnavailableError) as error:
            if clock.monotonic_seconds() >= deadline:
                raise
            log.warning("waiting", what=what, reason=str(error), next_try_seconds=delay)
        await asyncio.sleep(delay)  # an outage has no event to await
        delay = min(delay * 2, DELAY_SECONDS_MAX)
