"""Orders as a strategy asks for them: checked, and made into rows of the table of orders."""

from dataclasses import astuple, dataclass, replace
from math import isfinite
from typing import Any, TypeAlias

from milepost_backtester.engine.layouts import LIMIT, MARKET, STOP, STOP_LIMIT, TRAILING
from milepost_backtester.engine.records import Order

OrderRow: TypeAlias = tuple[Any, ...]
"""Values of ``layouts.ORDER``: the fields of ``Order`` and one more."""
ORDER_ID, QUANTITY, SUBMITTED_BAR, SYMBOL, KIND, GROUP, PARENT = 0, 1, 2, 3, 4, 11, 12
"""Places in a row."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """When an order may fill, and what protects the position that it opens."""

    limit: float | None = None
    """Fill at this price or a better one."""
    stop: float | None = None
    """Act once the market has reached this price; with ``limit``: as a limit order from then on."""
    trail: float | None = None
    """A stop that follows the best price at this distance."""
    trail_rate: float | None = None
    """The same, the distance as a share of the best price."""
    day: bool = False
    """Good for the day (UTC) of the first bar it can fill in, rather than until cancelled."""
    reduce_only: bool = False
    """Close at most what is held; go when nothing is."""
    stop_loss: float | None = None
    """After the fill: close at this price at the latest."""
    take_profit: float | None = None
    """After the fill: close at this price or a better one. The exits of an order drop each other."""
    stop_trail: float | None = None
    """After the fill: close by a stop that follows the best price at this distance."""
    stop_trail_rate: float | None = None

    def faults(self, quantity: float) -> list[str]:
        """Return what is impossible about an order with these conditions."""
        faults = [] if isfinite(quantity) and quantity != 0 else ["give a number that is not 0"]
        for name in ("limit", "stop", "trail", "stop_loss", "take_profit", "stop_trail"):
            value: float | None = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                faults.append(f"{name} {value!r} is no positive price")
        for name in ("trail_rate", "stop_trail_rate"):
            rate: float | None = getattr(self, name)
            if rate is not None and not 0 < rate < 1:
                faults.append(f"{name} {rate!r} is not between 0 and 1")
        if len(_given(self.trail, self.trail_rate)) and len(_given(self.limit, self.stop)):
            faults.append("a trailing order has neither limit nor stop")
        if len(_given(self.trail, self.trail_rate)) > 1:
            faults.append("give trail or trail_rate")
        if len(_given(self.stop_loss, self.stop_trail, self.stop_trail_rate)) > 1:
            faults.append("give one of stop_loss, stop_trail and stop_trail_rate")
        if self.stop_loss is not None and self.take_profit is not None:
            long = quantity > 0
            if (self.stop_loss >= self.take_profit) if long else (self.stop_loss <= self.take_profit):
                faults.append("stop_loss is on the wrong side of take_profit")
        return faults


def market_row(order_id: int, quantity: float, bar: int, symbol: int = 0) -> OrderRow:
    """Return a market order."""
    return (order_id, quantity, bar, symbol, MARKET, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0)


def rows_of_order(
    order_id: int,
    quantity: float,
    bar: int,
    close: float,
    conditions: Conditions,
    *,
    group: int = 0,
    symbol: int = 0,
) -> list[OrderRow]:
    """Return an order and the exits that wait for it, which take the next ids.

    ``close``: of the bar at which it is decided, from which a trailing order starts.
    """
    order = Order(
        order_id,
        quantity,
        bar,
        symbol,
        kind=_kind(conditions),
        limit=conditions.limit or 0.0,
        stop=conditions.stop or 0.0,
        trail=conditions.trail or 0.0,
        trail_rate=conditions.trail_rate or 0.0,
        extreme=close if _kind(conditions) == TRAILING else 0.0,
        day=int(conditions.day),
        group=group,
        reduce_only=int(conditions.reduce_only),
    )
    exit_order = Order(order_id, -quantity, bar, symbol, group=order_id, parent=order_id, reduce_only=1)
    exits: list[Order] = []
    if conditions.stop_loss is not None:
        exits.append(replace(exit_order, kind=STOP, stop=conditions.stop_loss))
    if conditions.stop_trail is not None or conditions.stop_trail_rate is not None:
        exits.append(
            replace(
                exit_order,
                kind=TRAILING,
                trail=conditions.stop_trail or 0.0,
                trail_rate=conditions.stop_trail_rate or 0.0,
            )
        )
    if conditions.take_profit is not None:
        exits.append(replace(exit_order, kind=LIMIT, limit=conditions.take_profit))
    exits = [replace(leg, order_id=order_id + place) for place, leg in enumerate(exits, start=1)]
    return [(*astuple(leg), 0) for leg in (order, *exits)]


def _kind(conditions: Conditions) -> int:
    if conditions.trail is not None or conditions.trail_rate is not None:
        return TRAILING
    if conditions.stop is not None:
        return STOP if conditions.limit is None else STOP_LIMIT
    return MARKET if conditions.limit is None else LIMIT


def _given(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]
