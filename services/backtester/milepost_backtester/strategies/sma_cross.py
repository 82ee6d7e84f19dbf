"""Crossing of two simple moving averages, as a level rule: the target position follows from each bar anew."""

from collections.abc import Mapping
from math import frexp, fsum
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import SmaCrossParameters

from milepost_backtester.strategies.sizing import Sizing

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.broker import Broker
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule

MANTISSA = 2.0**53
EXPONENT_LEAST = 1073
"""``frexp`` of the smallest positive double gives the exponent -1073."""
ROUNDING = 2.0**-50
"""Eight times the relative error of one operation."""
FRESH_BARS = 1024
"""Sums are made anew at the end of the first window after so many bars."""


class SmaCross:
    """Long while the fast average of the close is above the slow one; below it flat, or short if allowed.

    The averages are compared exactly. Running sums drift (they would change 1 052 decisions in a million bars with
    two-decimal prices), so they decide only where their difference is larger than any error they can have by now;
    where it is not, the windows are summed without rounding. Before ``slow`` bars are seen there are no orders.
    Equal averages mean flat.
    """

    VERSION = "2"
    """Raised with every change that can change a decision."""
    Parameters = SmaCrossParameters

    def __init__(self, parameters: SmaCrossParameters) -> None:
        self._parameters = parameters
        self._fast = parameters.fast
        self._slow = parameters.slow
        self._long = parameters.quantity
        self.sizing = Sizing.of(parameters)
        self._below = -parameters.quantity if parameters.allow_short else 0.0
        self._closes: list[float] = [0.0] * parameters.slow
        """The last close of each place in the slow window."""
        self._place = 0
        self._rounds = 0
        """How often the window was filled."""
        self._sum_again()

    def on_bar(self, bar: "Bar", broker: "Broker") -> None:
        """Order what the averages ask for."""
        place, closes, sizing = self._place, self._closes, self.sizing
        close = bar.close
        if sizing is not None:
            sizing.see(bar)
        # A negative place counts from the end, as it must.
        self._fast_sum = fast_sum = self._fast_sum + (close - closes[place - self._fast])
        self._slow_sum = slow_sum = self._slow_sum + (close - closes[place])
        closes[place] = close
        place += 1
        if place == self._slow:
            place = self._place = 0
            self._end_round()
            fast_sum, slow_sum = self._fast_sum, self._slow_sum
        self._place = place
        if slow_sum > self._peak:
            self._raise_tolerance(slow_sum)
        if not self._rounds:
            return
        difference = fast_sum * self._slow - slow_sum * self._fast
        if difference > self._tolerance:
            wanted = self._long
        elif difference < -self._tolerance:
            wanted = self._below
        else:
            wanted = self._exact_wish()
        if sizing is not None:
            size = sizing.units(wanted, bar, broker)
            if size is None:
                return
            wanted = size
        # Every order of the bar before has filled by now.
        if wanted != broker.position:
            broker.target(wanted)

    def state_dict(self) -> dict[str, Any]:
        """Return the closes of the slow window, oldest first, how many bars were seen, and what sizes rest on."""
        sizing = {} if self.sizing is None else self.sizing.state_dict()
        return {"seen": self._rounds * self._slow + self._place, "closes": self._window(), **sizing}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put the window back; what the sums decide follows from it, whatever their last bits."""
        self._rounds, self._place = divmod(state["seen"], self._slow)
        closes: list[float] = state["closes"]
        start = self._slow - self._place
        self._closes = closes[start:] + closes[:start]
        self._sum_again()
        if self.sizing is not None:
            self.sizing.load_state_dict(state)

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        return rule_of("sma_cross", self._fast, self._slow, self._long, self._below, sizing=self.sizing)

    def _window(self) -> list[float]:
        """Return the closes of the slow window, oldest first."""
        return self._closes[self._place :] + self._closes[: self._place]

    def _end_round(self) -> None:
        self._rounds += 1
        self._since_fresh += self._slow
        if self._since_fresh >= FRESH_BARS:
            self._sum_again()

    def _sum_again(self) -> None:
        closes = self._window()
        self._slow_sum = fsum(closes)
        self._fast_sum = fsum(closes[self._slow - self._fast :])
        self._since_fresh = 0
        self._raise_tolerance(self._slow_sum)

    def _raise_tolerance(self, largest_sum: float) -> None:
        """No rounding since the last fresh sums was larger than its share of the peak, set with room above."""
        steps = max(FRESH_BARS, self._slow) + 2 * self._slow
        self._peak = 1.25 * largest_sum
        self._tolerance = ROUNDING * (self._fast + self._slow) * steps * self._peak

    def _exact_wish(self) -> float:
        # The window ends with this bar: its place is the last one written.
        closes = self._window()
        slow_sum = sum(map(_whole, closes))
        fast_sum = sum(map(_whole, closes[self._slow - self._fast :]))
        if fast_sum * self._slow > slow_sum * self._fast:
            return self._long
        return self._below if fast_sum * self._slow < slow_sum * self._fast else 0.0


def _whole(value: float) -> int:
    """Return how many times 2**-1126 a price is: a whole number for every double."""
    mantissa, exponent = frexp(value)
    return int(mantissa * MANTISSA) << (exponent + EXPONENT_LEAST)
