"""When a strategy of the wake-up tier wants to be called."""

from dataclasses import dataclass
from math import inf

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import WAKE_ABOVE, WAKE_AT, WAKE_BELOW, WAKE_EVERY, WAKE_ON_CHANGE


@dataclass(frozen=True, slots=True)
class WakeWhen:
    """Any of these; what is left out never wakes."""

    every_bars: int = 0
    """After every so many bars of the whole run."""
    above: float = inf
    """At a bar whose high is at least this."""
    below: float = -inf
    """At a bar whose low is at most this."""
    on_change: bool = True
    """At a bar in which an order filled or went, or margin was called."""
    at_timestamp: int = 0
    """At bars from this time on, nanoseconds since 1970-01-01 UTC; 0: never."""

    def write(self, prices: Floats, counts: Integers) -> None:
        """Write it where compiled code reads it."""
        prices[WAKE_ABOVE], prices[WAKE_BELOW] = self.above, self.below
        counts[WAKE_EVERY], counts[WAKE_ON_CHANGE] = self.every_bars, self.on_change
        counts[WAKE_AT] = self.at_timestamp
