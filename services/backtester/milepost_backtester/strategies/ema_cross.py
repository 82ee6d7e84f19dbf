"""Crossing of two exponential moving averages, as a level rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import EmaCrossParameters

from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule


class EmaCross(LevelRule):
    """Long while the fast average is above the slow one, flat (or short) while below; after ``slow`` bars."""

    VERSION = "1"
    Parameters = EmaCrossParameters

    def __init__(self, parameters: EmaCrossParameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters
        self._below = -parameters.quantity if parameters.allow_short else 0.0
        self._seen = 0
        self._fast = self._slow = 0.0

    def wanted(self, bar: "Bar") -> float | None:
        """Compare the averages."""
        parameters = self._parameters
        if self._seen == 0:
            self._fast = self._slow = bar.close
        self._seen += 1
        self._fast += 2.0 / (parameters.fast + 1.0) * (bar.close - self._fast)
        self._slow += 2.0 / (parameters.slow + 1.0) * (bar.close - self._slow)
        if self._seen < parameters.slow:
            return None
        if self._fast > self._slow:
            return parameters.quantity
        return self._below if self._fast < self._slow else 0.0

    def rule_state(self) -> dict[str, Any]:
        """Return the averages and how many bars were seen."""
        return {"seen": self._seen, "fast": self._fast, "slow": self._slow}

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._seen, self._fast, self._slow = state["seen"], state["fast"], state["slow"]

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        parameters = self._parameters
        return rule_of(
            "ema_cross",
            parameters.fast,
            parameters.slow,
            parameters.quantity,
            self._below,
            memory_places=2,
            sizing=self.sizing,
        )
