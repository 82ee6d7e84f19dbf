"""What a strategy may do and see."""

from math import isfinite
from typing import Any

from milepost_backtester.engine.bars import Bar
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.decisions import missing_units
from milepost_backtester.engine.errors import OrderError
from milepost_backtester.engine.layouts import CASH, MARKET, NEXT_ORDER_ID, ORDERS
from milepost_backtester.engine.orders import (
    GROUP,
    KIND,
    ORDER_ID,
    PARENT,
    QUANTITY,
    Conditions,
    OrderRow,
    market_row,
    rows_of_order,
)
from milepost_backtester.engine.records import Order, orders_of

ORDERS_WAITING_MAX = 10_000
SCHEDULED_MAX = 1024


class Broker:
    """Takes orders; a market order fills at the open of the next bar, in the order of submission.

    Orders decided at the last bar never fill and are reported as waiting. What is ordered and cancelled at a bar
    lies in ``decided`` until the engine hands it to the book.
    """

    __slots__ = (
        "_bar",
        "_book",
        "_links",
        "_marks",
        "_plain",
        "_resting",
        "_symbol",
        "acts_next",
        "cancelled",
        "decided",
        "next_order_id",
        "position",
    )

    def __init__(self, book: Book, bar: Bar) -> None:
        self._book = book
        self._bar = bar
        self.decided: list[OrderRow] = []
        """Rows of ``layouts.ORDER``, given at this bar."""
        self.cancelled: set[int] = set()
        self._links: dict[int, int] = {}
        self._plain = True
        """Whether all of ``decided`` are market orders without any condition."""
        self._symbol = 0
        """The symbol that is traded, by its place."""
        self.acts_next = False
        """Whether an order was handed over that acts at the next open for certain."""
        self.refresh()

    position: float
    """Units held; negative when short. Writing here changes nothing."""

    @property
    def cash(self) -> float:
        """Cash after all fills so far; negative when borrowed."""
        if self._marks:
            return self._book.cash_marks.item(self._bar.index)
        if self._book.scheduled:
            self._book.run_to(self._bar.index + 1)
        return self._book.now.money.item(CASH)

    @property
    def equity(self) -> float:
        """Cash plus the position at the close of the current bar."""
        return self.cash + self.position * self._bar.close

    @property
    def waiting(self) -> tuple[Order, ...]:
        """Orders that have not filled yet."""
        # What trails has to have seen this bar too.
        self._book.run_to(self._bar.index + 1)
        resting = [
            order
            for order in orders_of(self._book.waiting)
            if order.order_id not in self.cancelled and order.parent not in self.cancelled
        ]
        return (*resting, *(Order(*row[:-1]) for row in self.decided))

    def order(self, quantity: float, conditions: Conditions | None = None, *, instead_of: int = 0) -> int:
        """Buy ``quantity`` units, or sell when it is negative; at the next open unless there are conditions.

        ``instead_of``: the id of a waiting order; whichever of the two fills first drops the other. Returns the
        order's id; its exits have the ids after it. While the run warms up nothing is ordered, and the id is 0.

        Raises:
            OrderError: the order is impossible, or too many orders wait.
        """
        order_id, bar = self.next_order_id, self._bar.index
        if bar < self._book.orders_from:
            return 0
        if len(self.decided) + self._resting >= ORDERS_WAITING_MAX:
            raise OrderError(f"{ORDERS_WAITING_MAX} orders wait already at bar {bar}")
        if conditions is None and not instead_of and quantity != 0 and isfinite(quantity):
            rows = [market_row(order_id, quantity, bar, self._symbol)]
        else:
            self._plain = False
            wanted = conditions or Conditions()
            faults = wanted.faults(quantity)
            if faults:
                raise OrderError(f"quantity {quantity!r} at bar {bar}: {'; '.join(faults)}")
            group = self._link(instead_of) if instead_of else 0
            rows = rows_of_order(
                order_id, quantity, bar, self._bar.close, wanted, group=group, symbol=self._symbol
            )
        self.next_order_id = order_id + len(rows)
        self.decided.extend(rows)
        return order_id

    def units_for_cash(self, cash: float) -> float:
        """Return how many units this much money buys at the close."""
        return cash / self._bar.close

    def units_for_fraction(self, fraction: float) -> float:
        """Return how many units at the close are worth this fraction of the equity."""
        return fraction * self.equity / self._bar.close

    def units_for_risk(self, fraction: float, distance: float) -> float:
        """Return how many units lose this fraction of the equity when the price moves by ``distance``.

        With a stop's distance, or a multiple of the volatility of a bar, every position risks the same.
        """
        return fraction * self.equity / distance

    def target(self, position: float) -> int | None:
        """Order what leads to ``position`` after all waiting market orders; None when nothing is missing.

        Raises:
            OrderError: as for ``order``.
        """
        expected = self.position
        if self._resting or self.decided:
            for order in self.waiting:
                if order.kind == MARKET and order.symbol == self._symbol:
                    expected += order.quantity
        missing = _missing_units(position, expected)
        return self.order(missing) if missing != 0 else None

    def cancel(self, order_id: int) -> bool:
        """Take a waiting order back, with those that wait for it; say whether it was still waiting."""
        if order_id not in {order.order_id for order in self.waiting}:
            return False
        self.decided[:] = [row for row in self.decided if order_id not in (row[ORDER_ID], row[PARENT])]
        self.cancelled.add(order_id)
        return True

    def forget(self) -> None:
        """Drop what was decided, because the bar is taken back."""
        self.decided.clear()
        self.cancelled.clear()
        self._links.clear()
        self._plain = True
        self._bar.index = self._book.done - 1
        self.see_what_acts_next()
        self.refresh()

    def see_what_acts_next(self) -> None:
        """Look whether an order waits that acts at the next open for certain."""
        waiting = self._book.waiting
        self.acts_next = len(waiting) > 0 and bool((waiting["kind"] == MARKET).any())

    def refresh(self, *, marks: bool = False) -> None:
        """Look at the book again; ``marks``: cash changes from bar to bar, as the marks of the bars ahead say."""
        tables = self._book.now
        self.position = tables.position.item(self._symbol)
        self.next_order_id: int = tables.counts.item(NEXT_ORDER_ID)
        self._resting: int = tables.counts.item(ORDERS)
        self._marks = marks

    def schedule(self) -> bool:
        """Leave what was decided to the book's next run if the position that follows is certain, and say so.

        For bars at which nothing else waits and nothing can refuse a market order.
        """
        if self.cancelled or not self._plain or len(self._book.scheduled) >= SCHEDULED_MAX:
            return False
        for row in self.decided:
            self.position += row[QUANTITY]
        self._book.scheduled += self.decided
        self.decided.clear()
        return True

    def hand_over(self) -> None:
        """Give the book what was decided."""
        if self.cancelled:
            self._book.now.remove(self.cancelled)
            self.cancelled.clear()
        if self.decided:
            for order_id, group in self._links.items():
                self._book.now.link(order_id, group)
            self._links.clear()
            self._book.append(self.decided)
            self.acts_next = any(row[KIND] == MARKET for row in self.decided)
            self.decided.clear()
            self._plain = True
        tables = self._book.now
        tables.counts[NEXT_ORDER_ID] = self.next_order_id
        self._resting = tables.counts.item(ORDERS)

    def _link(self, order_id: int) -> int:
        """Return the group of a waiting order, which it gets when it has none: its own id, negative."""
        found = [order for order in self.waiting if order.order_id == order_id]
        if not found:
            raise OrderError(f"order {order_id} does not wait at bar {self._bar.index}")
        group = self._links.get(order_id) or found[0].group or -order_id
        if found[0].group != group:
            self._links[order_id] = group
            self.decided[:] = [
                (*row[:GROUP], group, *row[GROUP + 1 :]) if row[ORDER_ID] == order_id else row
                for row in self.decided
            ]
        return group


_missing_units: Any = getattr(missing_units, "py_func", missing_units)
"""Plain Python, the same operations: a call of compiled code costs more than they do."""
