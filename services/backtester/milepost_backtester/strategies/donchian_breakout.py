"""Breakout of the Donchian channel."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import DonchianBreakoutParameters

from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule


class DonchianBreakout(LevelRule):
    """Long from a close above the highest high of ``enter`` bars to one below the lowest low of ``leave`` bars.

    Both of the bars before that close; the same downwards if allowed.
    """

    VERSION = "1"
    Parameters = DonchianBreakoutParameters

    def __init__(self, parameters: DonchianBreakoutParameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters
        self._window = max(parameters.enter, parameters.leave)
        self._highs: list[float] = []
        """Of the last bars, oldest first."""
        self._lows: list[float] = []
        self._wanted = 0.0

    def wanted(self, bar: "Bar") -> float | None:
        """Compare the close with the channels of the bars before."""
        wanted = self._compared(bar.close) if len(self._highs) == self._window else None
        self._highs.append(bar.high)
        self._lows.append(bar.low)
        if len(self._highs) > self._window:
            del self._highs[0], self._lows[0]
        return wanted

    def rule_state(self) -> dict[str, Any]:
        """Return highs and lows of the last bars and the wanted position."""
        return {"highs": self._highs, "lows": self._lows, "wanted": self._wanted}

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._highs, self._lows, self._wanted = list(state["highs"]), list(state["lows"]), state["wanted"]

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        parameters = self._parameters
        windows = (parameters.enter, parameters.leave)
        return rule_of(
            "donchian_breakout",
            *windows,
            parameters.quantity,
            float(parameters.allow_short),
            memory_places=1,
            sizing=self.sizing,
        )

    def _compared(self, close: float) -> float:
        parameters, highs, lows = self._parameters, self._highs, self._lows
        if (self._wanted > 0 and close < min(lows[-parameters.leave :])) or (
            self._wanted < 0 and close > max(highs[-parameters.leave :])
        ):
            self._wanted = 0.0
        if close > max(highs[-parameters.enter :]):
            self._wanted = parameters.quantity
        elif parameters.allow_short and close < min(lows[-parameters.enter :]):
            self._wanted = -parameters.quantity
        return self._wanted
