"""What the rules of the library share: a wanted position for each bar, its size, and orders that lead to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.sizing import SizedParameters

from milepost_backtester.strategies.sizing import Sizing

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.broker import Broker


class LevelRule(ABC):
    """Orders what leads to the position that it wants."""

    def __init__(self, parameters: SizedParameters) -> None:
        self.sizing = Sizing.of(parameters)
        """None: the units that the rule itself wants."""

    def on_bar(self, bar: "Bar", broker: "Broker") -> None:
        """Order what is missing."""
        wanted = self.wanted(bar)
        if self.sizing is not None:
            self.sizing.see(bar)
            wanted = self.sizing.units(wanted, bar, broker)
        if wanted is not None and wanted != broker.position:
            broker.target(wanted)

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule remembers, and what the size of its position rests on."""
        sizing = {} if self.sizing is None else self.sizing.state_dict()
        return {**self.rule_state(), **sizing}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self.load_rule_state(state)
        if self.sizing is not None:
            self.sizing.load_state_dict(state)

    @abstractmethod
    def wanted(self, bar: "Bar") -> float | None:
        """Return the position wanted after this bar; None for no wish."""

    @abstractmethod
    def rule_state(self) -> dict[str, Any]:
        """Return what the rule remembers."""

    @abstractmethod
    def load_rule_state(self, state: Mapping[str, Any]) -> None:
        """Put it back."""
