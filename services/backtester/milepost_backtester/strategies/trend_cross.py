"""Crossing of two averages, followed only in the direction of a higher timeframe's trend."""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import TrendCrossParameters

from milepost_backtester.engine.timeframes import HigherBar, HigherTimeframe
from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar


class TrendCross(LevelRule):
    """Long while the fast average is above the slow one and the trend is up; short, if allowed, the reverse.

    The averages are exponential ones of the close. The trend is up when the last complete higher bar closed above
    the middle of the highest high and the lowest low of the last ``trend_bars`` of them (the middle of a Donchian
    channel), down when below. No position before ``slow`` bars and ``trend_bars`` higher bars were seen.
    """

    VERSION = "1"
    Parameters = TrendCrossParameters

    def __init__(self, parameters: TrendCrossParameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters
        self._seen = 0
        self._fast = self._slow = 0.0
        self._higher = HigherTimeframe(parameters.timeframe)
        self._complete: deque[HigherBar] = deque(maxlen=parameters.trend_bars)

    def wanted(self, bar: "Bar") -> float | None:
        """Compare the averages, and the last complete higher bar with the channel."""
        parameters = self._parameters
        if self._seen == 0:
            self._fast = self._slow = bar.close
        self._seen += 1
        self._fast += 2.0 / (parameters.fast + 1.0) * (bar.close - self._fast)
        self._slow += 2.0 / (parameters.slow + 1.0) * (bar.close - self._slow)
        complete = self._higher.see(bar)
        if complete is not None:
            self._complete.append(complete)
        if self._seen < parameters.slow or len(self._complete) < parameters.trend_bars:
            return None
        trend = self._trend()
        if self._fast > self._slow and trend > 0:
            return parameters.quantity
        if self._fast < self._slow and trend < 0 and parameters.allow_short:
            return -parameters.quantity
        return 0.0

    def rule_state(self) -> dict[str, Any]:
        """Return averages, bars seen, the higher bar so far and the complete ones, oldest first."""
        higher = self._higher.state_dict()
        return {
            "seen": self._seen,
            "fast": self._fast,
            "slow": self._slow,
            "higher_start": higher["start"],
            "higher_partial": higher["partial"],
            "higher_complete": [[each.high, each.low, each.close] for each in self._complete],
        }

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._seen, self._fast, self._slow = state["seen"], state["fast"], state["slow"]
        self._higher.load_state_dict({"start": state["higher_start"], "partial": state["higher_partial"]})
        self._complete.clear()
        for high, low, close in state["higher_complete"]:
            self._complete.append(HigherBar(0, close, high, low, close, 0.0))

    def _trend(self) -> float:
        """Return a number with the sign of the trend."""
        highest = max(each.high for each in self._complete)
        lowest = min(each.low for each in self._complete)
        return self._complete[-1].close - (highest + lowest) / 2.0
