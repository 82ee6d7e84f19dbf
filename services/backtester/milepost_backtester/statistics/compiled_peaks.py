"""The highest so far, and the falls below it; numpy takes several passes."""

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.compiled_calls import called


def fill_peaks(values: Floats, first: float, peaks: Floats) -> None:
    """Write the highest of ``first`` and the values up to each place into ``peaks``."""
    called(write_peaks, [first], values, peaks)


def falls(timestamp: Integers, equity: Floats, first: float) -> tuple[float, int, float, int, float]:
    """Return the deepest fall, its bars and seconds, and the most bars and seconds of any; see ``drawdowns``."""
    depth, bars, seconds, most_bars, most_seconds = called(
        find_falls, [first, 0.0, 0.0, 0.0, 0.0], equity, whole=timestamp
    )
    return depth, int(bars), seconds, int(most_bars), most_seconds


@compiled
def write_peaks(values: Floats, peaks: Floats, whole: Integers, numbers: Floats) -> None:
    """Fill ``peaks``; the first number is what they begin with."""
    highest = numbers[0]
    for place in range(len(values)):
        highest = max(highest, values[place])
        peaks[place] = highest


@compiled
def find_falls(equity: Floats, others: Floats, timestamp: Integers, numbers: Floats) -> None:
    """Follow the equity from one peak to the next; the end counts as one.

    Between two peaks the lowest equity is the deepest fall, so one division for each of them is enough.
    """
    count = len(equity)
    highest, depth, edge = numbers[0], 0.0, -1
    lowest = highest
    bars, seconds, most_bars, most_seconds = 0, 0.0, 0, 0.0
    for place in range(count + 1):
        if place < count and equity[place] < highest:
            lowest = min(lowest, equity[place])
            continue
        length = place - edge - 1
        if length > 0:
            duration = (timestamp[min(place, count - 1)] - timestamp[max(edge, 0)]) / 1e9
            most_bars = max(most_bars, length)
            most_seconds = max(most_seconds, duration)
            below = 1 - lowest / highest
            if below > depth:
                depth, bars, seconds = below, length, duration
        edge = place
        if place < count:
            highest = lowest = equity[place]
    numbers[0], numbers[1], numbers[2] = depth, bars, seconds
    numbers[3], numbers[4] = most_bars, most_seconds
