"""The highest so far; numpy takes five times as long."""

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.compiled import compiled


@compiled
def fill_peaks(values: Floats, first: float, peaks: Floats) -> None:
    """Write the highest of ``first`` and the values up to each place into ``peaks``."""
    highest = first
    for place in range(len(values)):
        highest = max(highest, values[place])
        peaks[place] = highest
