"""Writing to the store from an event loop: in a thread that does not outlive whoever waits for it.

States: working -> done; or cancelled -> told to stop: the request that is under way ends, none is begun after it
-> stopped. Authority: the task that waits; the stores ask before each request whether it still does
(``require_wanted``). Failures: a request without an answer cannot be called back, so it is left behind after
``STOP_SECONDS``, and the log says so; the thread begins nothing more all the same.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

import structlog

from milepost_runtime.errors import StoreStoppedError

log = structlog.get_logger()
STOP_SECONDS = 10.0
P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
_UNTOLD = threading.Event()
_told: ContextVar[threading.Event] = ContextVar("told to stop", default=_UNTOLD)


async def in_thread(work: Callable[P, AnswerT], *args: P.args, **kwargs: P.kwargs) -> AnswerT:
    """Run what writes to a store in a thread; cancelled, return only when it has stopped writing.

    Raises: what ``work`` raises.
    """
    told, context = threading.Event(), copy_context()
    context.run(_told.set, told)
    loop = asyncio.get_running_loop()
    working = loop.run_in_executor(None, lambda: context.run(work, *args, **kwargs))
    try:
        await asyncio.wait({working})
    except asyncio.CancelledError:
        told.set()
        working.add_done_callback(_forget)
        if not (await asyncio.wait({working}, timeout=STOP_SECONDS))[0]:
            log.warning("a request to the store is left behind", waited_seconds=STOP_SECONDS)
        raise
    return working.result()


def require_wanted() -> None:
    """Refuse to begin another request when the one that asked does not wait any more.

    Raises:
        StoreStoppedError: it does not.
    """
    if _told.get().is_set():
        raise StoreStoppedError


def _forget(working: "asyncio.Future[AnswerT]") -> None:
    """Take note of how it ended: nobody else does."""
    if not working.cancelled():
        working.exception()
