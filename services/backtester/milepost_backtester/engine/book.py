"""The account's arrays, the calls of the kernel that work on them, and their state.

Tables grow by doubling whenever the kernel asks for room. ``ahead`` runs the kernel on copies of what a bar
changes, to see when the next order acts; ``adopt`` takes those copies over, so nothing is done twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from operator import is_not
from typing import Any

import numpy as np

from milepost_backtester.engine import frame as places
from milepost_backtester.engine import native
from milepost_backtester.engine.bars import Bars, Floats, Integers
from milepost_backtester.engine.desk import ORDERS_AT_A_BAR_MAX
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.frame import Frame
from milepost_backtester.engine.layouts import (
    AT_EVENT,
    BORROW_COST,
    CASH,
    COUNT_PLACES,
    EVENT,
    EXPIRED,
    FAULT,
    FILL,
    FILLS,
    GROW,
    LOT,
    LOTS,
    MARGIN_CALLS,
    MONEY_PLACES,
    NEVER,
    NEXT_ORDER_ID,
    ORDER,
    ORDERS,
    REASONS,
    REFUSED,
    SCHEDULED_ROOM,
    TRADE,
    TRADES,
    WHEN_WANTED,
    BarArrays,
    Table,
)
from milepost_backtester.engine.native import NativeCall
from milepost_backtester.engine.orders import ORDER_ID, QUANTITY, SUBMITTED_BAR, SYMBOL, OrderRow
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.records import Logs, State, rows_as_states, states_as_rows
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.waking import WakeWhen

ROWS_FIRST = 64
NO_WISHES: Floats = np.empty((1, 0))
MOVING_PLACES = (places.WANTED, places.ORDERS, places.LOTS, places.FILLS, places.TRADES)
BAR_PLACES = (places.TIMESTAMP, places.OPEN, places.HIGH, places.LOW, places.CLOSE)
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


class Tables:
    """What a bar changes, other than the logs."""

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

    def take(self, other: "Tables") -> None:
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


class Book:
    """Everything that orders change, and the bars that make them fill."""

    __slots__ = (
        "_ahead",
        "_bars",
        "_other",
        "_rules",
        "_wake_counts",
        "_wake_prices",
        "borrows",
        "cash_marks",
        "charges",
        "done",
        "equity_marks",
        "fills",
        "fills_for_certain",
        "now",
        "orders_from",
        "position_marks",
        "scheduled",
        "trades",
    )

    def __init__(
        self, bars: Bars | PortfolioBars, terms: Terms, initial_cash: float, *, orders_from: int = 0
    ) -> None:
        self._bars: BarArrays = BarArrays(
            bars.timestamp, _table(bars.open), _table(bars.high), _table(bars.low), _table(bars.close)
        )
        symbols = len(self._bars.open)
        self._rules = terms.as_record(orders_from=orders_from)
        self.orders_from = orders_from
        """The first bar at which orders are accepted."""
        self.done = 0
        """How many bars ``now`` has taken in."""
        self._ahead = 0
        self.borrows = bool(terms.borrow_rate)
        """Whether shorts pay, so that cash may change at any bar; otherwise only fills change it."""
        self.charges = bool(terms.borrow_rate or terms.maintenance_margin)
        self.fills_for_certain = not self.charges and terms.leverage_max == inf
        """Whether a market order fills whole at the next open, whatever the account: nothing refuses it."""
        self.scheduled: list[OrderRow] = []
        """Market orders that nothing but ``run_to`` has to know of yet, by the bar at which they were decided."""
        self.now = Tables(symbols, initial_cash)
        self._other = Tables(symbols, initial_cash)
        self.fills: Table = np.zeros(ROWS_FIRST, FILL)
        self.trades: Table = np.zeros(ROWS_FIRST, TRADE)
        self.equity_marks: Floats = np.empty(len(bars))
        self.cash_marks: Floats = np.empty(len(bars))
        self.position_marks: Floats = np.empty((symbols, len(bars)))
        self._wake_prices: Floats = np.zeros(2)
        self._wake_counts: Integers = np.zeros(3, dtype=np.int64)
        for tables in (self.now, self._other):
            self._put_for_good(tables)

    @property
    def waiting(self) -> Table:
        """Rows of the orders that wait."""
        return self.now.orders[: self.now.counts.item(ORDERS)]

    @property
    def outcome(self) -> Outcome:
        """What happened beside fills."""
        counts = self.now.counts
        return Outcome(
            counts.item(REFUSED),
            counts.item(EXPIRED),
            counts.item(MARGIN_CALLS),
            self.now.money.item(BORROW_COST),
        )

    @property
    def is_calm(self) -> bool:
        """Whether nothing but marks and excursions changes until somebody orders."""
        counts = self.now.counts
        return not counts.item(ORDERS) and not (self.charges and counts.item(LOTS))

    def run_to(self, stop: int) -> None:
        """Do bars for good until ``stop`` of them are done."""
        if self.scheduled:
            self._run_scheduled()
        if self.done < stop:
            self._run(self.now, stop, NO_WISHES, NEVER)
            self.done = stop

    def pursue_to(self, stop: int, wishes: Floats) -> None:
        """The same, ordering at each close what leads to the positions wanted: (symbols, bars to do)."""
        self._run(self.now, stop, wishes, NEVER)
        self.done = stop

    def act_to(self, stop: int, call: NativeCall) -> bool:
        """Do bars for good whose decisions are compiled into ``call``; False before a bar with a fault."""
        self.done, reason = self._run(
            self.now, stop, NO_WISHES, NEVER, call=call, room=ORDERS_AT_A_BAR_MAX * len(self.now.position)
        )
        return reason != FAULT

    def run_until_wanted(self, stop: int, when: WakeWhen) -> bool:
        """Do bars for good until one wakes the strategy; say whether one did."""
        when.write(self._wake_prices, self._wake_counts)
        self.done, reason = self._run(self.now, stop, NO_WISHES, WHEN_WANTED)
        return reason == EVENT

    def ahead(self, stop: int) -> int | None:
        """Do bars on copies until one changes more than marks; return it, None when all are quiet.

        The marks of the quiet bars before it are valid as long as nobody orders.
        """
        self._other.take(self.now)
        self._ahead, reason = self._run(self._other, stop, NO_WISHES, AT_EVENT)
        return self._ahead - 1 if reason == EVENT else None

    def adopt(self) -> None:
        """Take over what ``ahead`` did."""
        self.now, self._other = self._other, self.now
        self.done = self._ahead

    def append(self, rows: list[tuple[Any, ...]]) -> None:
        """Put orders in line."""
        if self.scheduled:
            # A fill looks at all orders in line; those of a later bar must not be among them.
            self.run_to(rows[0][SUBMITTED_BAR] + 1)
        count = self.now.counts.item(ORDERS)
        while count + len(rows) > len(self.now.orders):
            self.now.orders = _doubled(self.now.orders)
        for place, row in enumerate(rows, start=count):
            self.now.orders[place] = row
        self.now.counts[ORDERS] = count + len(rows)

    def link(self, order_id: int, group: int) -> None:
        """Make a waiting order one of a group."""
        rows: Table = self.waiting
        rows["group"][rows["order_id"] == order_id] = group

    def remove(self, order_ids: set[int]) -> None:
        """Take orders out of the line, with those that wait for them."""
        rows = self.waiting
        kept = rows[[not ({row["order_id"], row["parent"]} & order_ids) for row in rows]]
        self.now.orders[: len(kept)] = kept
        self.now.counts[ORDERS] = len(kept)

    def logs(self, bars: int) -> Logs:
        """Return the logs as views, cut to what belongs to ``bars`` bars done."""
        counts = self.now.counts
        positions = self.position_marks[:, :bars]
        return Logs(
            self.equity_marks[:bars],
            self.cash_marks[:bars],
            positions[0] if len(positions) == 1 else positions,
            self.fills[: counts[FILLS]],
            self.trades[: counts[TRADES]],
        )

    def state_dict(self) -> State:
        """Return a copy of everything that the next bars depend on."""
        tables = self.now
        counts = tables.counts.tolist()
        return {
            "cash": tables.money.item(CASH),
            "borrow_cost": tables.money.item(BORROW_COST),
            "position": tables.position.tolist(),
            **{name: counts[place] for name, place in COUNTED.items()},
            "lots": rows_as_states(tables.lots[: counts[LOTS]], LOT_COLUMNS),
            "waiting": rows_as_states(tables.orders[: counts[ORDERS]], ORDER_COLUMNS),
        }

    def load_state_dict(self, state: Mapping[str, Any], logs: Logs, bars: int) -> None:
        """Put a state back; rows of ``logs`` beyond its lengths are left."""
        fills, trades = state["fills"], state["trades"]
        lengths = tuple(
            log.shape[-1] for log in (logs.equity, logs.cash, logs.position, logs.fills, logs.trades)
        )
        expected = (bars, bars, bars, fills, trades)
        if any(length < wanted for length, wanted in zip(lengths, expected, strict=True)):
            raise StateError(f"the logs have {lengths} rows, the state wants {expected}")
        tables, symbols = self.now, len(self.now.position)
        if len(state["position"]) != symbols or logs.position.size != symbols * logs.position.shape[-1]:
            raise StateError(f"there are {symbols} symbols, the state has {len(state['position'])}")
        tables.money[CASH], tables.money[BORROW_COST] = state["cash"], state["borrow_cost"]
        tables.position[:] = state["position"]
        for name, place in COUNTED.items():
            tables.counts[place] = state[name]
        lots = states_as_rows(state["lots"], LOT_COLUMNS, LOT)
        orders = states_as_rows(state["waiting"], ORDER_COLUMNS, ORDER)
        tables.lots, tables.orders = _with_room(lots), _with_room(orders)
        tables.counts[LOTS], tables.counts[ORDERS] = len(lots), len(orders)
        self.equity_marks[:bars] = logs.equity[:bars]
        self.cash_marks[:bars] = logs.cash[:bars]
        self.position_marks[:, :bars] = logs.position[..., :bars]
        self.fills = _with_room(logs.fills[:fills])
        self.trades = _with_room(logs.trades[:trades])
        self.scheduled.clear()
        self.done = bars

    def _run_scheduled(self) -> None:
        """Do the bars up to the last order that was scheduled and put it in line."""
        columns = tuple(zip(*self.scheduled, strict=True))
        order_ids, submitted, symbols = (
            np.array(columns[place], dtype=np.int64) for place in (ORDER_ID, SUBMITTED_BAR, SYMBOL)
        )
        quantities = np.array(columns[QUANTITY], dtype=np.float64)
        self.scheduled.clear()
        tables, placed = self.now, 0
        frame = self._frame_of(tables, NO_WISHES)
        for place, column in (
            (places.ORDER_IDS, order_ids),
            (places.QUANTITIES, quantities),
            (places.SUBMITTED_BARS, submitted),
            (places.SYMBOLS, symbols),
        ):
            frame.put(place, column)
        while True:
            found = native.run_scheduled_call()(self.done, placed, frame.address)
            self.done, placed = divmod(found, SCHEDULED_ROOM)
            if placed == len(order_ids):
                return
            self._grow(tables)
            self._frame_of(tables, NO_WISHES)

    def _frame_of(self, tables: Tables, wishes: Floats) -> Frame:
        """Return where the arrays lie that the kernel works on."""
        moving = (wishes, tables.orders, tables.lots, self.fills, self.trades)
        # Mostly nothing has moved, and looking is a third of what a short call costs.
        if any(map(is_not, moving, tables.framed)):
            for place, array in zip(MOVING_PLACES, moving, strict=True):
                tables.frame.put(place, array)
            tables.framed = moving
        return tables.frame

    def _run(
        self,
        tables: Tables,
        stop: int,
        wishes: Floats,
        returns: int,
        *,
        call: NativeCall | None = None,
        room: int = 0,
    ) -> tuple[int, int]:
        start = first = self.done
        if call is None:
            call = native.run_call() if wishes is NO_WISHES else native.run_long_call()
        while True:
            frame = self._frame_of(tables, wishes)
            start, reason = divmod(call(start, stop, returns, first, frame.address), REASONS)
            if reason != GROW:
                return start, reason
            self._grow(tables, room)

    def _put_for_good(self, tables: Tables) -> None:
        """Tell the tables' frame of everything that never moves."""
        columns = (self._bars.timestamp, self._bars.open, self._bars.high, self._bars.low, self._bars.close)
        for place, array in (
            *zip(BAR_PLACES, columns, strict=True),
            (places.WAKE_PRICES, self._wake_prices),
            (places.WAKE_COUNTS, self._wake_counts),
            (places.RULES, self._rules),
            (places.MONEY, tables.money),
            (places.COUNTS, tables.counts),
            (places.POSITION, tables.position),
            (places.EQUITY_MARKS, self.equity_marks),
            (places.CASH_MARKS, self.cash_marks),
            (places.POSITION_MARKS, self.position_marks),
        ):
            tables.frame.put(place, array)

    def _grow(self, tables: Tables, room: int = 0) -> None:
        """Double what might be too small, by the kernel's own measure; ``room`` for orders of a bar."""
        counts, symbols = tables.counts, len(tables.position)
        waiting, held = counts.item(ORDERS), counts.item(LOTS)
        if waiting + 2 * symbols + room > len(tables.orders):
            tables.orders = _doubled(tables.orders)
        if held + waiting > len(tables.lots):
            tables.lots = _doubled(tables.lots)
        if counts.item(FILLS) + waiting > len(self.fills):
            self.fills = _doubled(self.fills)
        if counts.item(TRADES) + held + 2 * waiting > len(self.trades):
            self.trades = _doubled(self.trades)


def _table(column: Floats) -> Floats:
    """One row for each symbol; compiled code wants memory without gaps."""
    return np.ascontiguousarray(np.atleast_2d(column))


def _doubled(rows: Table) -> Table:
    grown = np.zeros(2 * len(rows), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _with_room(rows: Table) -> Table:
    room = np.zeros(max(ROWS_FIRST, 2 * len(rows)), rows.dtype)
    room[: len(rows)] = rows
    return room
