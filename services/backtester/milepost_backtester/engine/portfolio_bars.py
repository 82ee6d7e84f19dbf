"""Bars of several symbols on the union of their times.

Each symbol keeps its own bars as they are. Beside them stand tables on the common timeline, (symbols, bars), for
the rules: where a symbol has no bar its open, high and low are not a number, its volume is 0 and its close is the
last one, 0 before the first. So it is marked, and nothing of it fills.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from milepost_backtester.engine.bars import Bars, Floats, Integers
from milepost_backtester.engine.errors import BarsError

SYMBOLS_MAX = 128
VALUES_MAX = 1 << 28
"""Of one table: two gigabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class PortfolioBars:
    """Bars of one or more symbols; made by ``of``."""

    symbols: tuple[str, ...]
    """Names in the order of all tables."""
    own: tuple[Bars, ...]
    """The bars of each symbol."""
    places: tuple[Integers, ...]
    """Where on the timeline each of a symbol's own bars lies."""
    timestamp: Integers
    """The timeline: every time at which any symbol has a bar, strictly increasing."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, symbols: Sequence[str], bars: Sequence[Bars]) -> Self:
        """Lay the bars of some symbols on one timeline.

        Raises:
            BarsError: names are missing or stand twice, a symbol has no bars, or one has no time in common with
                any other; every problem is named.
        """
        problems = _problems(symbols, bars)
        if problems:
            raise BarsError("; ".join(problems))
        timestamp = np.unique(np.concatenate([part.timestamp for part in bars]))
        if len(bars) * len(timestamp) > VALUES_MAX:
            raise BarsError(
                f"{len(bars)} symbols at {len(timestamp)} times are more than {VALUES_MAX} values; "
                "take fewer symbols, a shorter time or longer bars"
            )
        places = tuple(np.searchsorted(timestamp, part.timestamp).astype(np.int64) for part in bars)
        shape = (len(bars), len(timestamp))
        tables = {name: np.full(shape, np.nan) for name in ("open", "high", "low")}
        close, volume = np.zeros(shape), np.zeros(shape)
        for symbol, (part, place) in enumerate(zip(bars, places, strict=True)):
            for name, table in tables.items():
                table[symbol, place] = getattr(part, name)
            volume[symbol, place] = part.volume
            # The bar that was last at each time; none lies before the first.
            last = np.searchsorted(place, np.arange(len(timestamp)), side="right") - 1
            close[symbol] = np.where(last < 0, 0.0, part.close[np.maximum(last, 0)])
        return cls(tuple(symbols), tuple(bars), places, timestamp, **tables, close=close, volume=volume)

    def __len__(self) -> int:
        return len(self.timestamp)


def _problems(symbols: Sequence[str], bars: Sequence[Bars]) -> list[str]:
    problems: list[str] = []
    if len(symbols) != len(bars):
        return [f"there are {len(symbols)} names for {len(bars)} symbols"]
    if not 1 <= len(symbols) <= SYMBOLS_MAX:
        problems.append(f"give 1 to {SYMBOLS_MAX} symbols, not {len(symbols)}")
    twice = sorted({name for name in symbols if list(symbols).count(name) > 1})
    problems += [f"{name} is given more than once" for name in twice]
    empty = [name for name, part in zip(symbols, bars, strict=True) if not len(part)]
    problems += [f"{name} has no bars" for name in empty]
    return problems or _gaps(symbols, bars)


def _gaps(symbols: Sequence[str], bars: Sequence[Bars]) -> list[str]:
    """Name the symbols that begin only after all before them have ended."""
    order = sorted(range(len(bars)), key=lambda symbol: (int(bars[symbol].timestamp[0]), symbol))
    problems: list[str] = []
    last_name, end = "", None
    for symbol in order:
        first, last = int(bars[symbol].timestamp[0]), int(bars[symbol].timestamp[-1])
        if end is not None and first > end:
            problems.append(
                f"{symbols[symbol]} begins at {_words(first)}, after all before it have ended: "
                f"{last_name} at {_words(end)}; there is no time in common"
            )
        if end is None or last > end:
            last_name, end = symbols[symbol], last
    return problems


def _words(nanoseconds: int) -> str:
    return str(np.datetime64(nanoseconds, "ns"))[:19]
