"""Reversion to the middle of Bollinger's bands."""

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import BollingerParameters

from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule


class Bollinger(LevelRule):
    """Long from a close below the lower band to one at or above the average of the window.

    Average and deviation are sums over the window, oldest first, made anew at each bar.
    """

    VERSION = "1"
    Parameters = BollingerParameters

    def __init__(self, parameters: BollingerParameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters
        self._closes: list[float] = []
        """Of the last bars, oldest first."""
        self._wanted = 0.0

    def wanted(self, bar: "Bar") -> float | None:
        """Compare the close with the lower band and the average."""
        parameters, closes = self._parameters, self._closes
        closes.append(bar.close)
        if len(closes) > parameters.window:
            del closes[0]
        if len(closes) < parameters.window:
            return None
        # Not sum(): from Python 3.12 on it rounds otherwise than compiled code does.
        total = 0.0
        for close in closes:
            total += close
        average = total / parameters.window
        squares = 0.0
        for close in closes:
            squares += (close - average) * (close - average)
        if bar.close < average - parameters.deviations * sqrt(squares / parameters.window):
            self._wanted = parameters.quantity
        elif bar.close >= average:
            self._wanted = 0.0
        return self._wanted

    def rule_state(self) -> dict[str, Any]:
        """Return the closes of the window and the wanted position."""
        return {"closes": self._closes, "wanted": self._wanted}

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._closes, self._wanted = list(state["closes"]), state["wanted"]

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        parameters = self._parameters
        return rule_of(
            "bollinger",
            parameters.window,
            parameters.deviations,
            parameters.quantity,
            memory_places=1,
            sizing=self.sizing,
        )
