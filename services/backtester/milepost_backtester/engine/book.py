"""The account with its logs, and the calls of the kernel that work on both.

Tables grow by doubling whenever the kernel asks for room. ``ahead`` runs the kernel on copies of what a bar
changes, to see when the next order acts; ``adopt`` takes those copies over, so nothing is done twice.
"""

from collections.abc import Mapping
from math import inf
from operator import is_not
from typing import Any

import numpy as np

from milepost_backtester.engine import frame as places
from milepost_backtester.engine import native
from milepost_backtester.engine.account import ROWS_FIRST, AccountTables, Outcome, doubled, with_room
from milepost_backtester.engine.bars import Bars, Floats, Integers
from milepost_backtester.engine.desk import ORDERS_AT_A_BAR_MAX
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.frame import Frame
from milepost_backtester.engine.layouts import (
    AT_EVENT,
    EVENT,
    FAULT,
    FILL,
    FILLS,
    GROW,
    LOTS,
    NEVER,
    ORDERS,
    REASONS,
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
from milepost_backtester.engine.records import Logs, State
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.waking import WakeWhen

NO_WISHES: Floats = np.empty((1, 0))
MOVING_PLACES = (places.WANTED, places.ORDERS, places.LOTS, places.FILLS, places.TRADES)
BAR_PLACES = (places.TIMESTAMP, places.OPEN, places.HIGH, places.LOW, places.CLOSE)


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
        self.now = AccountTables(symbols, initial_cash)
        self._other = AccountTables(symbols, initial_cash)
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
        return self.now.waiting

    @property
    def outcome(self) -> Outcome:
        """What happened beside fills."""
        return self.now.outcome

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
        self.now.append(rows)

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
        return self.now.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], logs: Logs, bars: int) -> None:
        """Put a state back; rows of ``logs`` beyond its lengths are left."""
        fills, trades = state["fills"], state["trades"]
        lengths = tuple(
            log.shape[-1] for log in (logs.equity, logs.cash, logs.position, logs.fills, logs.trades)
        )
        expected = (bars, bars, bars, fills, trades)
        if any(length < wanted for length, wanted in zip(lengths, expected, strict=True)):
            raise StateError(f"the logs have {lengths} rows, the state wants {expected}")
        symbols = len(self.now.position)
        if logs.position.size != symbols * logs.position.shape[-1]:
            raise StateError(f"there are {symbols} symbols, the logs have another number")
        self.now.load_state_dict(state)
        self.equity_marks[:bars] = logs.equity[:bars]
        self.cash_marks[:bars] = logs.cash[:bars]
        self.position_marks[:, :bars] = logs.position[..., :bars]
        self.fills = with_room(logs.fills[:fills])
        self.trades = with_room(logs.trades[:trades])
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

    def _frame_of(self, tables: AccountTables, wishes: Floats) -> Frame:
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
        tables: AccountTables,
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

    def _put_for_good(self, tables: AccountTables) -> None:
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

    def _grow(self, tables: AccountTables, room: int = 0) -> None:
        """Double what might be too small, by the kernel's own measure; ``room`` for orders of a bar."""
        tables.grow(room)
        waiting, held = tables.counts.item(ORDERS), tables.counts.item(LOTS)
        if tables.counts.item(FILLS) + waiting > len(self.fills):
            self.fills = doubled(self.fills)
        if tables.counts.item(TRADES) + held + 2 * waiting > len(self.trades):
            self.trades = doubled(self.trades)


def _table(column: Floats) -> Floats:
    """One row for each symbol; compiled code wants memory without gaps."""
    return np.ascontiguousarray(np.atleast_2d(column))
