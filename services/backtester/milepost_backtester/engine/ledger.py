"""The account: cash, lots, waiting orders. Deterministic; each operation rounds once, in a fixed order.

Lots are closed first in, first out. An order against the position that is at least as large closes every lot and
opens a new one with what is left; a smaller one takes units from the oldest lots. There is no margin in this form:
cash may become negative, at no cost.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from milepost_backtester.engine.errors import OrderError, StateError
from milepost_backtester.engine.records import Fill, Logs, Lot, Order, RoundTrip, State

ORDERS_WAITING_MAX = 10_000


class Ledger:
    """Everything that orders change."""

    __slots__ = (
        "cash",
        "commission_rate",
        "current_bar",
        "equity",
        "logs",
        "lots",
        "next_order_id",
        "position",
        "waiting",
    )

    def __init__(self, initial_cash: float, commission_rate: float) -> None:
        self.commission_rate = commission_rate
        self.cash = initial_cash
        self.position = 0.0
        """Units held; negative when short."""
        self.lots: list[Lot] = []
        """Oldest first."""
        self.waiting: list[Order] = []
        """Orders that fill at the next open, in the order of submission."""
        self.next_order_id = 1
        self.equity = initial_cash
        """At the close of the current bar."""
        self.current_bar = 0
        self.logs = Logs()

    def submit(self, quantity: float) -> int:
        """Put an order in line for the next open and return its id."""
        if not isfinite(quantity) or quantity == 0:
            raise OrderError(f"quantity {quantity!r} at bar {self.current_bar}: give a number that is not 0")
        if len(self.waiting) >= ORDERS_WAITING_MAX:
            raise OrderError(f"{ORDERS_WAITING_MAX} orders wait already at bar {self.current_bar}")
        order = Order(self.next_order_id, quantity, self.current_bar)
        self.next_order_id += 1
        self.waiting.append(order)
        return order.order_id

    def cancel(self, order_id: int) -> bool:
        """Take a waiting order back; say whether it was still waiting."""
        kept = [order for order in self.waiting if order.order_id != order_id]
        found = len(kept) < len(self.waiting)
        self.waiting = kept
        return found

    def fill_waiting(self, bar: int, price: float) -> None:
        """Fill every waiting order at ``price``, the open of ``bar``."""
        waiting, self.waiting = self.waiting, []
        for order in waiting:
            commission = abs(order.quantity) * price * self.commission_rate
            self.cash -= order.quantity * price
            self.cash -= commission
            self.logs.fills.append(
                Fill(order.order_id, order.submitted_bar, bar, order.quantity, price, commission)
            )
            self._change_position(order, bar, price, commission)

    def observe(self, high: float, low: float) -> None:
        """Widen the excursions of the open lots by the range of a bar."""
        for lot in self.lots:
            if high > lot.highest:
                lot.highest = high
            if low < lot.lowest:
                lot.lowest = low

    def state_dict(self) -> State:
        """Return a copy of everything that the next bars depend on."""
        return {
            "cash": self.cash,
            "position": self.position,
            "next_order_id": self.next_order_id,
            "lots": [asdict(lot) for lot in self.lots],
            "waiting": [asdict(order) for order in self.waiting],
            "fills": len(self.logs.fills),
            "trades": len(self.logs.trades),
        }

    def load_state_dict(self, state: Mapping[str, Any], logs: Logs, bar_index: int) -> None:
        """Put a state back; rows of ``logs`` beyond its lengths are cut."""
        logs.cut(bars=bar_index, fills=state["fills"], trades=state["trades"])
        lengths = (len(logs.equity), len(logs.cash), len(logs.position), len(logs.fills), len(logs.trades))
        expected = (bar_index, bar_index, bar_index, state["fills"], state["trades"])
        if lengths != expected:
            raise StateError(f"the logs have {lengths} rows, the state wants {expected}")
        self.logs = logs
        self.cash = state["cash"]
        self.position = state["position"]
        self.next_order_id = state["next_order_id"]
        self.lots = [Lot(**lot) for lot in state["lots"]]
        self.waiting = [Order(**order) for order in state["waiting"]]
        self.current_bar = bar_index
        if bar_index:
            self.equity = logs.equity[-1]

    def _change_position(self, order: Order, bar: int, price: float, commission: float) -> None:
        quantity, held = order.quantity, self.position
        self.position = held + quantity
        if held == 0 or (held > 0) == (quantity > 0):
            self._open(order, bar, price, quantity, commission)
        elif abs(quantity) < abs(held):
            self._reduce(order, bar, price, commission)
        else:
            closing_commission = commission * (abs(held) / abs(quantity))
            for lot in self.lots:
                share = closing_commission * (lot.quantity / held)
                self._log_trade(lot, order, bar, price, lot.quantity, lot.commission + share)
            self.lots = []
            if self.position != 0:
                self._open(order, bar, price, self.position, commission - closing_commission)

    def _open(self, order: Order, bar: int, price: float, quantity: float, commission: float) -> None:
        self.lots.append(Lot(order.order_id, bar, price, quantity, commission, price, price))

    def _reduce(self, order: Order, bar: int, price: float, commission: float) -> None:
        """Take units from the oldest lots; the newest keeps what rounding leaves, so no dust appears."""
        left = abs(order.quantity)
        sign = 1.0 if self.position > 0 else -1.0
        while left > 0:
            lot = self.lots[0]
            size = abs(lot.quantity)
            only_one = len(self.lots) == 1
            if left >= size and not only_one:
                self._log_trade(
                    lot,
                    order,
                    bar,
                    price,
                    lot.quantity,
                    lot.commission + self._share(order, size, commission),
                )
                del self.lots[0]
                left -= size
                continue
            kept = self.position if only_one else sign * (size - left)
            closed = lot.quantity - kept
            entry_commission = lot.commission * (abs(closed) / size)
            share = self._share(order, abs(closed), commission)
            self._log_trade(lot, order, bar, price, closed, entry_commission + share)
            lot.quantity = kept
            lot.commission -= entry_commission
            left = 0.0

    def _share(self, order: Order, units: float, commission: float) -> float:
        return commission * (units / abs(order.quantity))

    def _log_trade(
        self, lot: Lot, order: Order, bar: int, price: float, quantity: float, commission: float
    ) -> None:
        # The exit is at this bar's open: of its range only that price counts.
        highest, lowest = max(lot.highest, price), min(lot.lowest, price)
        best, worst = (highest, lowest) if quantity > 0 else (lowest, highest)
        self.logs.trades.append(
            RoundTrip(
                entry_order_id=lot.order_id,
                exit_order_id=order.order_id,
                entry_bar=lot.bar,
                exit_bar=bar,
                quantity=quantity,
                entry_price=lot.price,
                exit_price=price,
                commission=commission,
                pnl=quantity * (price - lot.price) - commission,
                max_favourable_excursion=quantity * (best - lot.price),
                max_adverse_excursion=quantity * (lot.price - worst),
            )
        )
