"""Running what may go on for hours and is ended with Ctrl-C."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
AGAIN_SECONDS = 1.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C, which raises ``KeyboardInterrupt`` as it does from ``asyncio.run``.

    There it is one cancellation, and ``wait_for`` of Python 3.11, which nats-py awaits answers with, swallows one
    that comes in the moment of an answer (https://github.com/python/cpython/issues/86296). Here it is repeated.
    """
    return asyncio.run(_insistently(main))


async def _insistently(main: Coroutine[Any, Any, T]) -> T:
    running = asyncio.create_task(main)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            running.cancel()
            await asyncio.wait({running}, timeout=AGAIN_SECONDS)
        if not running.cancelled():
            running.exception()  # whoever interrupts does not wait for it
        raise
