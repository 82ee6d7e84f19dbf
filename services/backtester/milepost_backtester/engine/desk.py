"""What a compiled ``on_bar`` may see and do: ``Broker``'s words as functions for compiled code.

An order lies in the table of orders at once; it acts from the next bar on, as one of ``Broker`` does. An
impossible one is written down as a fault, ``on_bar`` goes on to its end, and the engine raises ``OrderError``.

Of several symbols one function sees all: ``of`` turns the desk to one, as ``PortfolioBroker.of`` does; then
``position``, ``close``, ``order`` and ``target`` are that one's. Cash, equity and waiting orders are those of all.
"""

from math import isfinite, isnan, nan
from typing import NamedTuple

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.decisions import expected_units, missing_units
from milepost_backtester.engine.layouts import (
    CASH,
    LIMIT,
    MARKET,
    NEXT_ORDER_ID,
    ORDERS,
    STOP,
    STOP_LIMIT,
    TRAILING,
    Account,
    BarArrays,
    Prices,
    Table,
)
from milepost_backtester.engine.margin import submit_market

ORDERS_AT_A_BAR_MAX = 64
"""Rows that one ``on_bar`` may add for each symbol that there is; a bracket takes up to three."""
ORDERS_WAITING_MAX = 10_000
NO_ORDERS = -1
"""Stands for ``orders_max`` while the run warms up."""
IMPOSSIBLE, TOO_MANY, NOT_WAITING, TOO_MANY_AT_ONCE, NO_SYMBOL, NOT_BEGUN = 1, 2, 3, 4, 5, 6
"""Kinds of faults."""
FAULT_PLACES = 10
"""Kind, quantity or order id or symbol, and the eight prices and rates of an order as ``order`` takes them."""


class Desk(NamedTuple):
    """One bar that just ended, and the account after it."""

    bar: int
    """Its place in the arrays of ``bars``; later ones must not be looked at."""
    bars: BarArrays
    """``timestamp[bar]`` and ``open``, ``high``, ``low``, ``close``, each ``[0, bar]``.

    Of several symbols ``[symbol, bar]`` on the common timeline, as ``BarArrays`` says.
    """
    volume: Prices
    account: Account
    orders_max: int
    """Rows of the table of orders that this bar may fill; ``NO_ORDERS`` where none are accepted."""
    fault: Floats
    symbol: int
    """Whose position and orders the words below mean."""
    moment: int
    """The bar of the run."""
    closes: Prices
    """What the account is marked at: ``[symbol, moment]``."""
    turns: Table
    """Rows of ``layouts.TURN``, where each symbol has an ``on_bar`` of its own; nothing for that one to use."""


@compiled
def symbols(desk: Desk) -> int:
    """How many symbols there are."""
    return len(desk.account.position)


@compiled
def of(desk: Desk, symbol: int) -> Desk:
    """The same desk, turned to a symbol by its place; to one that is not there is a fault."""
    there = 0 <= symbol < len(desk.account.position)
    if not there and desk.fault[0] == 0:
        desk.fault[0], desk.fault[1] = NO_SYMBOL, symbol
    return Desk(
        desk.bar, desk.bars, desk.volume, desk.account, desk.orders_max, desk.fault,
        symbol if there else 0, desk.moment, desk.closes, desk.turns,
    )  # fmt: skip


@compiled
def has_bar(desk: Desk) -> bool:
    """Whether the symbol has a bar at this time; one of several may have none, one alone always has."""
    return len(desk.bars.open) == 1 or not isnan(desk.bars.open[desk.symbol, desk.bar])


@compiled
def close(desk: Desk) -> float:
    """The symbol's last close; 0 before its first bar."""
    return desk.closes[desk.symbol, desk.moment]


@compiled
def position(desk: Desk) -> float:
    """Units held; negative when short."""
    return desk.account.position[desk.symbol]


@compiled
def cash(desk: Desk) -> float:
    """Cash after all fills so far."""
    return desk.account.money[CASH]


@compiled
def equity(desk: Desk) -> float:
    """Cash plus all positions at their last closes."""
    worth = desk.account.money[CASH]
    for symbol in range(len(desk.account.position)):
        worth += desk.account.position[symbol] * desk.closes[symbol, desk.moment]
    return worth


@compiled
def orders_waiting(desk: Desk) -> int:
    """How many orders have not filled, exits included; ``desk.account.orders`` has them in its first rows."""
    return desk.account.counts[ORDERS]


@compiled
def place_of(desk: Desk, order_id: int) -> int:
    """Where a waiting order stands in the table; -1 when it waits no longer."""
    for place in range(desk.account.counts[ORDERS]):
        if desk.account.orders[place].order_id == order_id:
            return place
    return -1


@compiled
def cancel(desk: Desk, order_id: int) -> bool:
    """Take a waiting order back, with those that wait for it; say whether it was still waiting."""
    if place_of(desk, order_id) < 0:
        return False
    kept = 0
    orders = desk.account.orders
    for place in range(desk.account.counts[ORDERS]):
        if orders[place].order_id != order_id and orders[place].parent != order_id:
            if kept != place:
                orders[kept] = orders[place]
            kept += 1
    desk.account.counts[ORDERS] = kept
    return True


@compiled
def order(
    desk: Desk,
    quantity: float,
    limit: float = nan,
    stop: float = nan,
    trail: float = nan,
    trail_rate: float = nan,
    stop_loss: float = nan,
    take_profit: float = nan,
    stop_trail: float = nan,
    stop_trail_rate: float = nan,
    day: bool = False,
    reduce_only: bool = False,
    instead_of: int = 0,
) -> int:
    """Buy ``quantity`` units, or sell when it is negative, under the conditions of ``orders.Conditions``.

    Not a number: not given. Returns the order's id (its exits have the ids after it), 0 for an impossible one and
    while the run warms up. Of several symbols one that had no bar yet cannot be ordered.
    """
    if len(desk.account.position) > 1 and close(desk) == 0 and desk.fault[0] == 0:
        desk.fault[0] = NOT_BEGUN
    if desk.orders_max == NO_ORDERS or desk.fault[0] == NOT_BEGUN:
        return 0
    kind = MARKET
    if trail == trail or trail_rate == trail_rate:
        kind = TRAILING
    elif stop == stop:
        kind = STOP if limit != limit else STOP_LIMIT
    elif limit == limit:
        kind = LIMIT
    fault = 0
    place = place_of(desk, instead_of) if instead_of != 0 else 0
    if desk.account.counts[ORDERS] >= ORDERS_WAITING_MAX:
        fault = TOO_MANY
    elif desk.account.counts[ORDERS] + 3 > desk.orders_max:
        fault = TOO_MANY_AT_ONCE
    elif not is_possible(
        quantity, limit, stop, trail, trail_rate, stop_loss, take_profit, stop_trail, stop_trail_rate
    ):
        fault = IMPOSSIBLE
    elif place < 0:
        fault = NOT_WAITING
    if fault != 0:
        if desk.fault[0] == 0:
            values = (limit, stop, trail, trail_rate, stop_loss, take_profit, stop_trail, stop_trail_rate)
            desk.fault[0] = fault
            desk.fault[1] = instead_of if fault == NOT_WAITING else quantity
            for number in range(len(values)):
                desk.fault[2 + number] = values[number]
        return 0
    group = 0
    if instead_of != 0:
        if desk.account.orders[place].group == 0:
            desk.account.orders[place].group = -instead_of
        group = desk.account.orders[place].group
    order_id = desk.account.counts[NEXT_ORDER_ID]
    submit_market(desk.account, desk.moment, desk.symbol, quantity)
    row = desk.account.orders[desk.account.counts[ORDERS] - 1]
    row.kind = kind
    row.limit = _or_zero(limit)
    row.stop = _or_zero(stop)
    row.trail = _or_zero(trail)
    row.trail_rate = _or_zero(trail_rate)
    row.extreme = close(desk) if kind == TRAILING else 0.0
    row.day = 1 if day else 0
    row.group = group
    row.reduce_only = 1 if reduce_only else 0
    if stop_loss == stop_loss:
        _add_exit(desk, order_id, quantity, STOP, 0.0, stop_loss, 0.0, 0.0)
    if stop_trail == stop_trail or stop_trail_rate == stop_trail_rate:
        _add_exit(
            desk, order_id, quantity, TRAILING, 0.0, 0.0, _or_zero(stop_trail), _or_zero(stop_trail_rate)
        )
    if take_profit == take_profit:
        _add_exit(desk, order_id, quantity, LIMIT, take_profit, 0.0, 0.0, 0.0)
    return order_id


@compiled
def target(desk: Desk, wanted: float) -> int:
    """Order what leads to a position after the symbol's waiting market orders; 0 when nothing is missing."""
    missing = missing_units(wanted, expected_units(desk.account, desk.symbol))
    return order(desk, missing) if missing != 0 else 0


@compiled
def is_possible(
    quantity: float,
    limit: float,
    stop: float,
    trail: float,
    trail_rate: float,
    stop_loss: float,
    take_profit: float,
    stop_trail: float,
    stop_trail_rate: float,
) -> bool:
    """Say whether ``orders.Conditions.faults`` has nothing to say."""
    possible = isfinite(quantity) and quantity != 0
    for price in (limit, stop, trail, stop_loss, take_profit, stop_trail):
        possible = possible and (price != price or (isfinite(price) and price > 0))
    for rate in (trail_rate, stop_trail_rate):
        possible = possible and (rate != rate or 0 < rate < 1)
    trails = int(trail == trail) + int(trail_rate == trail_rate)
    stops = (
        int(stop_loss == stop_loss) + int(stop_trail == stop_trail) + int(stop_trail_rate == stop_trail_rate)
    )
    possible = possible and trails < 2 and stops < 2
    possible = possible and not (trails > 0 and (limit == limit or stop == stop))
    if stop_loss == stop_loss and take_profit == take_profit:
        possible = possible and (stop_loss < take_profit if quantity > 0 else stop_loss > take_profit)
    return possible


@compiled
def _add_exit(
    desk: Desk, entry: int, quantity: float, kind: int, limit: float, stop: float, trail: float, rate: float
) -> None:
    submit_market(desk.account, desk.moment, desk.symbol, -quantity)
    row = desk.account.orders[desk.account.counts[ORDERS] - 1]
    row.kind = kind
    row.limit = limit
    row.stop = stop
    row.trail = trail
    row.trail_rate = rate
    row.group = entry
    row.parent = entry
    row.reduce_only = 1


@compiled
def _or_zero(value: float) -> float:
    return value if value == value else 0.0
