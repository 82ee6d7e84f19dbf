"""Parts of pages that many readers look at: made once for all of them, no more often than anyone can follow."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from milepost_runtime.clock import Clock

PAUSE_SECONDS = 0.4
"""Between two versions of the same part."""
PARTS_MAX = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page as it is sent."""

    html: bytes
    operation_ids: frozenset[str] = frozenset()
    """The operations that are in it."""


@dataclass(slots=True)
class _Kept:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sequence: int = -1
    made_at: float = float("-inf")
    part: Part = Part(b"")


class SharedParts:
    """The newest version of each part, by its address."""

    def __init__(self, clock: Clock, position: Callable[[], int]) -> None:
        self._clock = clock
        self._position = position
        """How far what can be read has come."""
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, address: str, sequence: int, make: Callable[[], Awaitable[Part]]) -> Part:
        """Return the part as of ``sequence`` or later; ``make`` reads and renders it when nobody has yet."""
        kept = self._kept.setdefault(address, _Kept())
        self._kept.move_to_end(address)
        while len(self._kept) > PARTS_MAX:
            self._kept.popitem(last=False)
        async with kept.lock:
            if kept.sequence < sequence:
                await asyncio.sleep(max(kept.made_at + PAUSE_SECONDS - self._clock.monotonic_seconds(), 0))
                position = self._position()
                kept.part = await make()
                kept.sequence, kept.made_at = position, self._clock.monotonic_seconds()
            return kept.part
