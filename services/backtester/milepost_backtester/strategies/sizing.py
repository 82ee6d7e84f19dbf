"""How many units a rule's position has, when that depends on the price, the account or the volatility."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.sizing import SizedParameters

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.broker import Broker

KINDS = ("units", "cash", "equity", "target", "volatility")
"""By the number that compiled code knows them by."""


class Sizing:
    """From the side that a rule wants to units; ``sized_rules`` does the same in compiled code.

    The size is that of the bar at which a side is entered, and stays; that of ``target`` is made anew where the
    position is further off than the tolerance. While the average true range has not seen its bars, or is 0, a
    volatility gives no size, and the side is entered as soon as it does. The range: the mean of the first
    ``range_bars`` true ranges, then ``(average * (range_bars - 1) + range) / range_bars`` (Wilder 1978).
    """

    __slots__ = ("_close", "_range", "_seen", "_side", "_units", "kind", "parameters")

    def __init__(self, parameters: SizedParameters) -> None:
        self.parameters = parameters
        self.kind = parameters.sizing
        self._side = self._units = 0.0
        self._seen = 0
        self._close = self._range = 0.0

    @classmethod
    def of(cls, parameters: SizedParameters) -> "Sizing | None":
        """Return it; None where the quantity is the units."""
        return None if parameters.sizing == "units" else cls(parameters)

    @property
    def numbers(self) -> tuple[float, ...]:
        """The parameters for compiled code."""
        parameters = self.parameters
        number = float(KINDS.index(self.kind))
        return (number, parameters.quantity, parameters.tolerance, float(parameters.range_bars))

    def see(self, bar: "Bar") -> None:
        """Take in a bar's range; at every bar."""
        if self.kind != "volatility":
            return
        number, before = self._seen, self._close
        self._seen, self._close = number + 1, bar.close
        if number == 0:
            return
        reach = max(bar.high - bar.low, abs(bar.high - before), abs(bar.low - before))
        period = float(self.parameters.range_bars)
        if number <= period:
            self._range += reach / period
        else:
            self._range = (self._range * (period - 1.0) + reach) / period

    def units(self, wanted: float | None, bar: "Bar", broker: "Broker") -> float | None:
        """Return the position for the side of the wanted one; None for no wish."""
        if wanted is None:
            return None
        side = float((wanted > 0) - (wanted < 0))
        if self.kind == "target" and side != 0:
            units = side * self._size(bar, broker)
            if side != self._side or abs(units - self._units) > self.parameters.tolerance * abs(units):
                self._units = units
        elif side != self._side:
            if side != 0 and self.kind == "volatility" and not self._has_range():
                return None
            self._units = side * self._size(bar, broker) if side != 0 else 0.0
        self._side = side
        return self._units

    def state_dict(self) -> dict[str, Any]:
        """Return side and units, and what the average true range is made of."""
        return {
            "sizing_side": self._side,
            "sizing_units": self._units,
            "sizing_seen": self._seen,
            "sizing_close": self._close,
            "sizing_range": self._range,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._side, self._units = state["sizing_side"], state["sizing_units"]
        self._seen, self._close = state["sizing_seen"], state["sizing_close"]
        self._range = state["sizing_range"]

    def _has_range(self) -> bool:
        return self._seen > self.parameters.range_bars and self._range > 0

    def _size(self, bar: "Bar", broker: "Broker") -> float:
        quantity = self.parameters.quantity
        if self.kind == "cash":
            return quantity / bar.close
        # Nothing can be bought with what is lost.
        equity = max(0.0, broker.equity)
        return quantity * equity / (self._range if self.kind == "volatility" else bar.close)
