"""The main metric of each operation in a list, as few points as a line of a finger's width can show.

A line is read when someone looks at the operation, no more often than every few seconds while it runs, and once
more when it has ended; then it is kept for all who look. However long a curve is, a line of it costs the same.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple, Protocol

from milepost_runtime.clock import Clock

MAIN_METRICS = ("equity", "validation_loss", "train_loss", "loss")
"""The first of these that an operation has is its main metric; else the first by name."""
POINTS_MAX = 48
PAUSE_SECONDS = 5.0
"""Between two readings of the same line."""
FIRST_TRIES = 5
"""So often a line that has no points yet is looked for without a pause."""
LINES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Sparkline:
    """One line: units ascend, values are finite."""

    name: str
    points: tuple[tuple[int, float], ...]


class Seen(NamedTuple):
    """An operation as it is shown now."""

    operation_id: str
    version: Hashable
    """Another one when it is shown otherwise."""
    has_ended: bool


class SparklineReader(Protocol):
    """Reads metrics; raises ``DatabaseUnavailableError`` when the read models are away."""

    async def samples(
        self, operation_ids: Sequence[str], names: Sequence[str], *, points_max: int
    ) -> Mapping[str, tuple[str, Sequence[tuple[int, float]]]]:
        """Return the main metric's name and some of its points, in the order of the log, by operation."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    version: Hashable
    read_at: float
    line: Sparkline | None
    tries: int


class Sparklines:
    """The lines that someone looked at lately. Not thread-safe: everything happens in one event loop."""

    def __init__(self, reader: SparklineReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = asyncio.Lock()

    def kept(self, operation_id: str) -> Sparkline | None:
        """Return the line as it was read last; None when there is none."""
        found = self._kept.get(operation_id)
        return None if found is None else found.line

    async def refresh(self, shown: Iterable[Seen]) -> None:
        """Read the lines that are due of operations that are shown.

        Raises:
            DatabaseUnavailableError: the read models are away; lines stay as they were.
        """
        async with self._lock:
            due = {each.operation_id: each for each in shown if self._is_due(each)}
            if not due:
                return
            read = await self._reader.samples(list(due), MAIN_METRICS, points_max=POINTS_MAX)
            now = self._clock.monotonic_seconds()
            for operation_id, seen in due.items():
                found = read.get(operation_id)
                line = None if found is None else Sparkline(found[0], ascending(found[1]))
                before = self._kept.get(operation_id)
                tries = 1 if before is None else before.tries + 1
                self._kept[operation_id] = _Kept(seen.version, now, line, tries)
                self._kept.move_to_end(operation_id)
            while len(self._kept) > LINES_MAX:
                self._kept.popitem(last=False)

    def _is_due(self, seen: Seen) -> bool:
        kept = self._kept.get(seen.operation_id)
        if kept is None:
            return True
        if kept.version == seen.version:
            return False
        if seen.has_ended or (kept.line is None and kept.tries < FIRST_TRIES):
            return True
        return self._clock.monotonic_seconds() - kept.read_at >= PAUSE_SECONDS


def ascending(points: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Return the finite points by unit; what a later attempt says replaces what was said from there on."""
    kept: list[tuple[int, float]] = []
    for unit, value in points:
        while kept and kept[-1][0] >= unit:
            kept.pop()
        if isfinite(value):
            kept.append((unit, value))
    return tuple(kept)
