"""When a strategy of the wake-up tier wants to be called."""

from dataclasses import dataclass
from math import inf

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers


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

    @property
    def prices(self) -> Floats:
        """As compiled code reads them."""
        return np.array([self.above, self.below])

    @property
    def counts(self) -> Integers:
        """As compiled code reads them."""
        return np.array([self.every_bars, int(self.on_change), self.at_timestamp], dtype=np.int64)


ALWAYS_ASLEEP = WakeWhen(on_change=False)
