"""The account's tables: all that a bar changes, other than the logs; they grow by doubling and have a state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.frame import Frame
from milepost_backtester.engine.layouts import (
    BORROW_COST,
    CASH,
    COUNT_PLACES,
    EXPIRED,
    FILLS,
    LOT,
    LOTS,
    MARGIN_CALLS,
    MONEY_PLACES,
    NEXT_ORDER_ID,
    ORDER,
    ORDERS,
    REFUSED,
    TRADES,
    Table,
)
from milepost_backtester.engine.records import State, rows_as_states, states_as_rows

ROWS_FIRST = 64
COUNTED = {
    "next_order_id": NEXT_ORDER_ID,
    "fills": FILLS,
    "trades": TRADES,
    "refused": REFUSED,
    "expired": EXPIRED,
    "margin_calls": MARGIN_CALLS,
}
"""Fields of the state by their place in ``counts``."""
ORDER_COLUMNS = tuple(name for name in ORDER.names or () if name != "since_bar")
"""Columns that belong to the state: ``since_bar`` never looks beyond a bar."""
LOT_COLUMNS = tuple(LOT.names or ())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened beside fills."""

    orders_refused: int
    """Orders that would have exceeded the leverage when they came to fill."""
    orders_expired: int
    """Day orders that did not fill in their day."""
    margin_calls: int
    borrow_cost: float


class AccountTables:
    """Money, counts, positions, orders and lots, and where compiled code finds them."""

    __slots__ = ("counts", "frame", "framed", "lots", "money", "orders", "position")

    def __init__(self, symbols: int, initial_cash: float) -> None:
        self.money: Floats = np.zeros(MONEY_PLACES)
        self.money[CASH] = initial_cash
        self.counts: Integers = np.zeros(COUNT_PLACES, dtype=np.int64)
        self.counts[NEXT_ORDER_ID] = 1
        self.position: Floats = np.zeros(symbols)
        self.orders: Table = np.zeros(ROWS_FIRST, ORDER)
        self.lots: Table = np.zeros(ROWS_FIRST, LOT)
        self.frame = Frame()
        self.framed: tuple[Any, ...] = (None,) * 5
        """What the frame has of all that may move."""

    def take(self, other: "AccountTables") -> None:
        """Become equal to another one."""
        self.money[:] = other.money
        self.counts[:] = other.counts
        self.position[:] = other.position
        orders, lots = other.counts.item(ORDERS), other.counts.item(LOTS)
        if len(self.orders) < len(other.orders):
            self.orders = np.zeros(len(other.orders), ORDER)
        if len(self.lots) < len(other.lots):
            self.lots = np.zeros(len(other.lots), LOT)
        self.orders[:orders] = other.orders[:orders]
        self.lots[:lots] = other.lots[:lots]

    @property
    def waiting(self) -> Table:
        """Rows of the orders that wait."""
        return self.orders[: self.counts.item(ORDERS)]

    @property
    def outcome(self) -> Outcome:
        """What happened beside fills."""
        counts = self.counts
        return Outcome(
            counts.item(REFUSED),
            counts.item(EXPIRED),
            counts.item(MARGIN_CALLS),
            self.money.item(BORROW_COST),
        )

    def append(self, rows: list[tuple[Any, ...]]) -> None:
        """Put orders in line."""
        count = self.counts.item(ORDERS)
        while count + len(rows) > len(self.orders):
            self.orders = doubled(self.orders)
        for place, row in enumerate(rows, start=count):
            self.orders[place] = row
        self.counts[ORDERS] = count + len(rows)

    def link(self, order_id: int, group: int) -> None:
        """Make a waiting order one of a group."""
        rows: Table = self.waiting
        rows["group"][rows["order_id"] == order_id] = group

    def remove(self, order_ids: set[int]) -> None:
        """Take orders out of the line, with those that wait for them."""
        rows = self.waiting
        kept = rows[[not ({row["order_id"], row["parent"]} & order_ids) for row in rows]]
        self.orders[: len(kept)] = kept
        self.counts[ORDERS] = len(kept)

    def grow(self, room: int) -> None:
        """Double what might be too small, by the kernel's own measure; ``room`` for orders of a bar."""
        waiting, held = self.counts.item(ORDERS), self.counts.item(LOTS)
        if waiting + 2 * len(self.position) + room > len(self.orders):
            self.orders = doubled(self.orders)
        if held + waiting > len(self.lots):
            self.lots = doubled(self.lots)

    def state_dict(self) -> State:
        """Return a copy of everything that the next bars depend on."""
        counts = self.counts.tolist()
        return {
            "cash": self.money.item(CASH),
            "borrow_cost": self.money.item(BORROW_COST),
            "position": self.position.tolist(),
            **{name: counts[place] for name, place in COUNTED.items()},
            "lots": rows_as_states(self.lots[: counts[LOTS]], LOT_COLUMNS),
            "waiting": rows_as_states(self.orders[: counts[ORDERS]], ORDER_COLUMNS),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a state back.

        Raises:
            StateError: it is that of other symbols.
        """
        symbols = len(self.position)
        if len(state["position"]) != symbols:
            raise StateError(f"there are {symbols} symbols, the state has {len(state['position'])}")
        self.money[CASH], self.money[BORROW_COST] = state["cash"], state["borrow_cost"]
        self.position[:] = state["position"]
        for name, place in COUNTED.items():
            self.counts[place] = state[name]
        lots = states_as_rows(state["lots"], LOT_COLUMNS, LOT)
        orders = states_as_rows(state["waiting"], ORDER_COLUMNS, ORDER)
        self.lots, self.orders = with_room(lots), with_room(orders)
        self.counts[LOTS], self.counts[ORDERS] = len(lots), len(orders)


def doubled(rows: Table) -> Table:
    """Return the same rows with as much room again."""
    grown = np.zeros(2 * len(rows), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def with_room(rows: Table) -> Table:
    """Return a copy with room for more."""
    room = np.zeros(max(ROWS_FIRST, 2 * len(rows)), rows.dtype)
    room[: len(rows)] = rows
    return room
