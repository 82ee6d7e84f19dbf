"""Buy once and keep: what others are compared with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import BuyAndHoldParameters

from milepost_backtester.strategies.level_rule import LevelRule

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.strategy import ActingRule, CompiledRule


class BuyAndHold(LevelRule):
    """The same position all the time, from the second bar's open on."""

    VERSION = "1"
    Parameters = BuyAndHoldParameters

    def __init__(self, parameters: BuyAndHoldParameters) -> None:
        super().__init__(parameters)
        self._quantity = parameters.quantity

    def wanted(self, bar: "Bar") -> float | None:
        """Want the same whatever the bar."""
        return self._quantity

    def rule_state(self) -> dict[str, Any]:
        """Return nothing: there is nothing to remember."""
        return {}

    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""

    def compiled_rule(self) -> "CompiledRule | ActingRule":
        """Return the same rule, compiled."""
        from milepost_backtester.strategies.compiled_rules import rule_of  # noqa: PLC0415 - hosts load no arrays

        return rule_of("buy_and_hold", self._quantity, sizing=self.sizing)
