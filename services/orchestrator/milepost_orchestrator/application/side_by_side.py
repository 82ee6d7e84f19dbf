"""Several waits at a time, and not more."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

AT_ONCE = 8
"""Files that are fetched, or operations that are read, side by side."""
ResultT = TypeVar("ResultT")


async def at_once(asked: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Return what all of them return, ``AT_ONCE`` of them side by side; the first error ends the others."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        async with room:
            return await coroutine

    tasks = [asyncio.create_task(one(each)) for each in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
