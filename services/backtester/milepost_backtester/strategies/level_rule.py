"""What the rules of the library share: a wanted position for each bar, and orders that lead to it."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.broker import Broker


class LevelRule(ABC):
    """Orders what leads to the position that it wants."""

    def on_bar(self, bar: "Bar", broker: "Broker") -> None:
        """Order what is missing."""
        wanted = self.wanted(bar)
        if wanted is not None and wanted != broker.position:
            broker.target(wanted)

    @abstractmethod
    def wanted(self, bar: "Bar") -> float | None:
        """Return the position wanted after this bar; None for no wish."""
