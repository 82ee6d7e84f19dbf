"""Crossing of two simple moving averages, as a level rule: the target position follows from each bar anew."""

from collections.abc import Mapping
from math import frexp
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.backtest import SmaCrossParameters

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.broker import Broker

MANTISSA = 2.0**53
EXPONENT_LEAST = 1073
"""``frexp`` of the smallest positive double gives the exponent -1073."""


class SmaCross:
    """Long while the fast average of the close is above the slow one; below it flat, or short if allowed.

    The averages are compared exactly: every double is a whole multiple of 2**-1074, so the window sums are kept
    as integers, which neither round nor drift. A running sum of floats would change decisions (1 052 in a million
    bars with two-decimal prices); a fresh sum costs more and rounds as well, and Python 3.12 rounds it otherwise
    than 3.11. This costs the same for every window. Before ``slow`` bars are seen there are no orders. Equal
    averages mean flat.
    """

    VERSION = "1"
    """Raised with every change that can change a decision."""
    Parameters = SmaCrossParameters

    def __init__(self, parameters: SmaCrossParameters) -> None:
        self._parameters = parameters
        self._fast = parameters.fast
        self._slow = parameters.slow
        self._long = parameters.quantity
        self._below = -parameters.quantity if parameters.allow_short else 0.0
        self._seen = 0
        self._closes: list[float] = [0.0] * parameters.slow
        self._exact: list[int] = [0] * parameters.slow
        self._fast_sum = 0
        self._slow_sum = 0

    def on_bar(self, bar: "Bar", broker: "Broker") -> None:
        """Order what the averages ask for."""
        seen, slow, exact = self._seen, self._slow, self._exact
        place = seen % slow
        close = bar.close
        mantissa, exponent = frexp(close)
        entering = int(mantissa * MANTISSA) << (exponent + EXPONENT_LEAST)
        self._slow_sum = slow_sum = self._slow_sum + entering - exact[place]
        self._fast_sum = fast_sum = self._fast_sum + entering - exact[(seen - self._fast) % slow]
        exact[place] = entering
        self._closes[place] = close
        self._seen = seen = seen + 1
        if seen < slow:
            return
        # fast_sum / fast against slow_sum / slow, without dividing
        fast_level, slow_level = fast_sum * slow, slow_sum * self._fast
        if fast_level > slow_level:
            wanted = self._long
        elif fast_level < slow_level:
            wanted = self._below
        else:
            wanted = 0.0
        # Every order of the bar before has filled by now.
        if wanted != broker.position:
            broker.target(wanted)

    def state_dict(self) -> dict[str, Any]:
        """Return the closes of the slow window, oldest first, and how many bars were seen."""
        start = self._seen % self._slow
        return {"seen": self._seen, "closes": self._closes[start:] + self._closes[:start]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put the window back; the exact sums follow from it, whatever the order of addition."""
        self._seen = state["seen"]
        closes: list[float] = state["closes"]
        start = self._seen % self._slow
        self._closes = closes[self._slow - start :] + closes[: self._slow - start]
        self._exact = [_exact(close) for close in self._closes]
        self._slow_sum = sum(self._exact)
        self._fast_sum = sum(_exact(close) for close in closes[self._slow - self._fast :])


def _exact(value: float) -> int:
    mantissa, exponent = frexp(value)
    return int(mantissa * MANTISSA) << (exponent + EXPONENT_LEAST)
