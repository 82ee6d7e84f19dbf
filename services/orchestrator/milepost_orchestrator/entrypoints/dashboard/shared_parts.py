"""Parts of pages that many readers look at: made once for all of them, no more often than anyone can follow."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

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
    waiting: Mapping[str, str] = field(default_factory=dict[str, str])
    """What those that wait wait for, in words."""
    may_wait: bool = False
    """Whether any of them has not ended."""
    sequence: int = -1
    """All up to it is in the part; set when it is made."""


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
        kept = self._at(address)
        async with kept.lock:
            if kept.sequence < sequence:
                await asyncio.sleep(max(kept.made_at + PAUSE_SECONDS - self._clock.monotonic_seconds(), 0))
                await self._make(kept, make)
            return kept.part

    async def no_older(self, address: str, seconds: float, make: Callable[[], Awaitable[Part]]) -> Part:
        """Return the part as it was at most so long ago, whatever has happened since."""
        kept = self._at(address)
        async with kept.lock:
            if kept.made_at + seconds <= self._clock.monotonic_seconds():
                await self._make(kept, make)
            return kept.part

    async def _make(self, kept: _Kept, make: Callable[[], Awaitable[Part]]) -> None:
        position = self._position()
        kept.part = replace(await make(), sequence=position)
        kept.sequence, kept.made_at = position, self._clock.monotonic_seconds()

    def _at(self, address: str) -> _Kept:
        kept = self._kept.setdefault(address, _Kept())
        self._kept.move_to_end(address)
        while len(self._kept) > PARTS_MAX:
            self._kept.popitem(last=False)
        return kept
