"""What a strategy is: the protocol that a team implements."""

from collections.abc import Mapping
from typing import Any, Protocol

from milepost_backtester.engine.bars import Bar
from milepost_backtester.engine.broker import Broker


class Strategy(Protocol):
    """Decides at the close of each bar.

    Everything that a decision depends on, other than the parameters, must be in ``state_dict``: indicator values
    as they are, never what would be needed to warm them up again. No clock, no randomness, no files.
    """

    def on_bar(self, bar: Bar, broker: Broker) -> None:
        """Look at the bar that just ended and give orders for the next open."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: text keys and JSON values (finite floats, lists rather than tuples)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        ...
