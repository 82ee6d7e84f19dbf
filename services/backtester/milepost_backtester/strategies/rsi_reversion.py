"""Reversion by Wilder's relative strength index."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import RsiReversionParameters

from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule


class RsiReversion(LevelRule):
    """Long from an index below ``enter`` to one above ``leave``.

    Index: ``100 * gain / (gain + loss)`` of average gain and loss, 50 when nothing moved; averages start as means
    of the first ``period`` changes and go on as ``(average * (period - 1) + change) / period`` (Wilder 1978).
    """

    VERSION = "1"
    Parameters = RsiReversionParameters

    def __init__(self, parameters: RsiReversionParameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters
        self._seen = 0
        self._close = self._gain = self._loss = self._wanted = 0.0

    def wanted(self, bar: "Bar") -> float | None:
        """Compare the index with its two levels."""
        parameters, number = self._parameters, self._seen
        self._seen = number + 1
        change, self._close = bar.close - self._close, bar.close
        if number == 0:
            return None
        period = float(parameters.period)
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if number <= period:
            self._gain += gain / period
            self._loss += loss / period
        else:
            self._gain = (self._gain * (period - 1.0) + gain) / period
            self._loss = (self._loss * (period - 1.0) + loss) / period
        if number < period:
            return None
        total = self._gain + self._loss
        strength = 100.0 * self._gain / total if total > 0 else 50.0
        if strength < parameters.enter:
            self._wanted = parameters.quantity
        elif strength > parameters.leave:
            self._wanted = 0.0
        return self._wanted

    def rule_state(self) -> dict[str, Any]:
        """Return the averages, the last close, the wanted position and how many bars were seen."""
        return {
            "seen": self._seen,
            "close": self._close,
            "gain": self._gain,
            "loss": self._loss,
            "wanted": self._wanted,
        }

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._seen, self._close, self._wanted = state["seen"], state["close"], state["wanted"]
        self._gain, self._loss = state["gain"], state["loss"]

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        parameters = self._parameters
        levels = (parameters.enter, parameters.leave)
        return rule_of(
            "rsi_reversion",
            parameters.period,
            *levels,
            parameters.quantity,
            memory_places=3,
            sizing=self.sizing,
        )
