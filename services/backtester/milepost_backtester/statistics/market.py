"""What the figures of a run rest on beside the run itself: the calendar of its bars and what holding them brings.

The same for every run over the same bars, so a sweep makes it once.
"""

from dataclasses import dataclass

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.statistics.drawdowns import depths
from milepost_backtester.statistics.figures import Undefined
from milepost_backtester.statistics.frequency import bars_per_year, years_of
from milepost_backtester.statistics.sums import Sample, sample_of


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """Buying and holding."""

    gain: float
    max_drawdown: float
    returns: Sample | None
    """From one close to the next; None of fewer than three bars."""


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Some bars, without any run."""

    years: float
    bars_per_year: float | Undefined
    benchmark: Benchmark | None


def market_of(timestamp: Integers, closes: Floats | None = None) -> Market:
    """Return what at least one bar says; ``closes``: (bars,) or (symbols, bars)."""
    benchmark = None if closes is None else _benchmark(held_value(closes))
    return Market(years_of(timestamp), bars_per_year(timestamp), benchmark)


def held_value(closes: Floats) -> Floats:
    """Return what 1 becomes when it is held: closes of one symbol, (bars,), or of several, (symbols, bars).

    Each of several symbols gets the same share at the start; that of one that begins later, whose closes are 0
    until then, waits as cash.
    """
    if closes.ndim == 1:
        return closes / closes[0]
    begun = closes > 0
    first = np.take_along_axis(closes, begun.argmax(axis=1)[:, np.newaxis], axis=1)
    # One that never begins has nothing to be divided by.
    first = np.where(first > 0, first, 1.0)
    return np.add.reduce(np.where(begun, closes / first, 1.0), axis=0) / len(closes)


def _benchmark(held: Floats) -> Benchmark:
    returns = sample_of(held[1:] / held[:-1] - 1) if len(held) > 2 else None
    return Benchmark(float(held[-1]) - 1, float(np.max(depths(held, 1.0))), returns)
