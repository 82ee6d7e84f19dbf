"""Falls of the equity below its highest so far."""

from dataclasses import dataclass

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.statistics.compiled_peaks import falls, fill_peaks
from milepost_backtester.statistics.figures import Figures


@dataclass(frozen=True, slots=True)
class Drawdowns:
    """The deepest and the longest; all 0 where the equity never falls."""

    depth: float
    bars: int
    seconds: float
    longest_bars: int
    longest_seconds: float

    def figures(self) -> Figures:
        """Return the figures by their fields."""
        return {
            "max_drawdown": self.depth,
            "max_drawdown_bars": self.bars,
            "max_drawdown_seconds": self.seconds,
            "longest_drawdown_bars": self.longest_bars,
            "longest_drawdown_seconds": self.longest_seconds,
        }


def depths(equity: Floats, initial_cash: float) -> Floats:
    """Return how far each bar's equity lies below the highest so far, as a share of it."""
    peaks = np.empty(len(equity))
    fill_peaks(equity, initial_cash, peaks)
    return 1 - equity / peaks


def find_drawdowns(timestamp: Integers, equity: Floats, initial_cash: float) -> Drawdowns:
    """Return the deepest drawdown and the longest ones.

    The initial cash is the first peak and counts from the first bar. Bars lie between a peak and its recovery,
    time runs from the one to the other, or to the last bar.
    """
    return Drawdowns(*falls(timestamp, equity, initial_cash))
