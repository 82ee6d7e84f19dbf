"""Which orders fill inside a bar, at which price, and what a fill does to the others.

At the open, in the order of submission: market orders; stops that the open has reached or jumped over, at it;
limits that the open satisfies, at it too, since it is never worse than the limit. Then inside the bar, pessimistic
where four prices do not say what came first: stops before limits, so that of a stop and a target in one bar the
stop counts; after an entry inside the bar its stop may be hit in the same bar, its target from the next bar on.

Market orders and stops take the market (spread, slippage). A limit order that fills at the open does so too, but
never beyond its limit; inside the bar it fills at its limit.

Where a symbol has no bar, its open, high and low are not a number: no comparison with one is true, so nothing of
that symbol fills, triggers, trails or expires.
"""

import numpy as np

from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.costs import commission_of, taken_price
from milepost_backtester.engine.layouts import (
    CASH,
    EXPIRED,
    FILLS,
    GONE,
    LIMIT,
    MARKET,
    ORDERS,
    REFUSED,
    STOP,
    STOP_LIMIT,
    TRAILING,
    Account,
    BarArrays,
    Row,
    Table,
)
from milepost_backtester.engine.lots import change_position
from milepost_backtester.engine.margin import exceeds_leverage

DAY_NANOSECONDS = 24 * 3600 * 10**9
NO_PRICE = -1.0


OPENING, STOPS, LIMITS, STOPS_OF_ENTRIES, PHASES = 0, 1, 2, 3, 4
"""A bar in its order; the last time for the stops of entries that a limit just made."""


@compiled
def match_bar(account: Account, bar: int, bars: BarArrays, rules: Table) -> bool:
    """Let every order act that was submitted before this bar; say whether any order changed or went."""
    changed = _expire(account, bar, bars)
    # At most bars no order does anything: one look at each says so, rather than one in each phase.
    if not changed and not _is_any_reached(account, bar, bars):
        _trail(account, bar, bars)
        return False
    active = 1
    for phase in range(PHASES):
        if active == 0:
            break
        active = 0
        for place in range(account.counts[ORDERS]):
            order = account.orders[place]
            if not _may_act(order, bar):
                continue
            price = _price_in(phase, order, bar, bars, rules)
            if price == NO_PRICE:
                active += 1
            else:
                _fill(account, place, bar, price, phase != OPENING, bars, rules)
                changed = True
        if phase == OPENING and changed:
            # Exits whose entry just filled may stand before it, when the entry was ordered later.
            active = account.counts[ORDERS]
    if active > 0:
        _trail(account, bar, bars)
    if changed:
        _compact(account)
    return changed


@compiled
def _may_act(order: Row, bar: int) -> bool:
    return order.kind != GONE and order.submitted_bar < bar and order.parent == 0


@compiled
def _is_any_reached(account: Account, bar: int, bars: BarArrays) -> bool:
    """Say whether the bar comes to the price of any order; where it does not, nothing fills or triggers."""
    for place in range(account.counts[ORDERS]):
        order = account.orders[place]
        if not _may_act(order, bar):
            continue
        price = bars.open[order.symbol, bar]
        if order.kind == MARKET and not np.isnan(price):
            return True
        limited = order.kind == LIMIT or (order.kind == STOP_LIMIT and order.triggered == 1)
        level = order.limit if limited else _level(order)
        # A limit to buy waits below the market, a stop to buy above it; to sell, the other way round.
        if limited == (order.quantity > 0):
            if min(bars.low[order.symbol, bar], price) <= level:
                return True
        elif max(bars.high[order.symbol, bar], price) >= level:
            return True
    return False


@compiled
def _price_in(phase: int, order: Row, bar: int, bars: BarArrays, rules: Table) -> float:
    """Return what the order fills at in this part of the bar, ``NO_PRICE`` when it does not."""
    if phase == OPENING:
        return _price_at_open(order, bar, bars, rules)
    if phase == LIMITS:
        return _limit_price(order, bar, bars)
    return _stop_price(order, bar, bars, rules)


@compiled
def _expire(account: Account, bar: int, bars: BarArrays) -> bool:
    """Drop day orders at the first bar of another day (UTC) than that of the first bar they could fill in.

    Both are bars of the order's own symbol.
    """
    changed = False
    for place in range(account.counts[ORDERS]):
        order = account.orders[place]
        if order.day == 0 or order.kind == GONE or order.submitted_bar >= bar:
            continue
        prices = bars.open[order.symbol]
        if np.isnan(prices[bar]):
            continue
        first = order.submitted_bar + 1
        while np.isnan(prices[first]):
            first += 1
        if bars.timestamp[bar] // DAY_NANOSECONDS != bars.timestamp[first] // DAY_NANOSECONDS:
            account.counts[EXPIRED] += 1
            _drop(account, place)
            changed = True
    return changed


@compiled
def _price_at_open(order: Row, bar: int, bars: BarArrays, rules: Table) -> float:
    price = bars.open[order.symbol, bar]
    if np.isnan(price):
        return NO_PRICE
    sign = 1.0 if order.quantity > 0 else -1.0
    if order.kind == STOP or order.kind == TRAILING:
        if sign * price < sign * _level(order):
            return NO_PRICE
        return taken_price(price, order.quantity, bar, order.order_id, rules)
    taken = taken_price(price, order.quantity, bar, order.order_id, rules)
    if order.kind == MARKET:
        return taken
    if order.kind == STOP_LIMIT and order.triggered == 0:
        if sign * price < sign * order.stop:
            return NO_PRICE
        order.triggered = 1
    if sign * price <= sign * order.limit:
        return min(taken, order.limit) if order.quantity > 0 else max(taken, order.limit)
    return NO_PRICE


@compiled
def _stop_price(order: Row, bar: int, bars: BarArrays, rules: Table) -> float:
    """Return what a stop inside the bar fills at; a stop-limit that cannot fill there rests as a limit."""
    untriggered = order.kind == STOP_LIMIT and order.triggered == 0
    if order.kind != STOP and order.kind != TRAILING and not untriggered:
        return NO_PRICE
    buys = order.quantity > 0
    level = order.stop if untriggered else _level(order)
    reached = bars.high[order.symbol, bar] >= level if buys else bars.low[order.symbol, bar] <= level
    if not reached:
        return NO_PRICE
    taken = taken_price(level, order.quantity, bar, order.order_id, rules)
    if not untriggered:
        return taken
    order.triggered = 1
    if buys and level <= order.limit:
        return min(taken, order.limit)
    if not buys and level >= order.limit:
        return max(taken, order.limit)
    order.since_bar = bar + 1
    return NO_PRICE


@compiled
def _limit_price(order: Row, bar: int, bars: BarArrays) -> float:
    limited = order.kind == LIMIT or (order.kind == STOP_LIMIT and order.triggered == 1)
    if not limited or order.since_bar > bar:
        return NO_PRICE
    if order.quantity > 0:
        return order.limit if bars.low[order.symbol, bar] <= order.limit else NO_PRICE
    return order.limit if bars.high[order.symbol, bar] >= order.limit else NO_PRICE


@compiled
def _level(order: Row) -> float:
    """Return the price of a stop; that of a trailing one follows the best price of earlier bars."""
    if order.kind != TRAILING:
        return order.stop
    distance = order.trail + order.extreme * order.trail_rate
    return order.extreme + distance if order.quantity > 0 else order.extreme - distance


@compiled
def _trail(account: Account, bar: int, bars: BarArrays) -> None:
    for place in range(account.counts[ORDERS]):
        order = account.orders[place]
        if order.kind == TRAILING and _may_act(order, bar) and order.since_bar <= bar:
            low, high = bars.low[order.symbol, bar], bars.high[order.symbol, bar]
            if order.quantity > 0:
                order.extreme = low if low < order.extreme else order.extreme
            else:
                order.extreme = high if high > order.extreme else order.extreme


@compiled
def _fill(
    account: Account, place: int, bar: int, price: float, inside: bool, bars: BarArrays, rules: Table
) -> None:
    """Fill an order whole, or refuse it; then see to what hangs on it."""
    order = account.orders[place]
    quantity = order.quantity
    held = account.position[order.symbol]
    if order.reduce_only == 1:
        if held == 0 or (held > 0) == (quantity > 0):
            _drop(account, place)
            return
        if abs(quantity) > abs(held):
            quantity = -held
    commission = commission_of(quantity, price, rules)
    if exceeds_leverage(account, order, price, quantity, commission, bars, bar, rules):
        account.counts[REFUSED] += 1
        _drop(account, place)
        return
    account.money[CASH] -= quantity * price
    account.money[CASH] -= commission
    fill = account.fills[account.counts[FILLS]]
    fill.order_id = order.order_id
    fill.submitted_bar = order.submitted_bar
    fill.bar = bar
    fill.quantity = quantity
    fill.price = price
    fill.commission = commission
    fill.symbol = order.symbol
    account.counts[FILLS] += 1
    change_position(account, order, bar, price, quantity, commission, inside)
    order.kind = GONE
    _after_fill(account, order, bar, price, inside)


@compiled
def _after_fill(account: Account, filled: Row, bar: int, price: float, inside: bool) -> None:
    """Wake the orders that waited for this one, drop those linked to it and those with nothing left to close."""
    position = account.position[filled.symbol]
    for place in range(account.counts[ORDERS]):
        order = account.orders[place]
        if order.kind == GONE:
            continue
        if order.parent == filled.order_id:
            _activate(order, bar, price, inside)
        elif filled.group != 0 and order.group == filled.group:
            _drop(account, place)
            continue
        closes = position != 0 and (position > 0) != (order.quantity > 0)
        if order.reduce_only == 1 and order.parent == 0 and order.symbol == filled.symbol and not closes:
            _drop(account, place)


@compiled
def _activate(order: Row, bar: int, price: float, inside: bool) -> None:
    """An exit begins to act; a stop that the entry has passed already is moved to the entry's price."""
    order.parent = 0
    order.since_bar = bar + 1 if inside else bar
    order.extreme = price
    if order.kind == STOP:
        order.stop = max(order.stop, price) if order.quantity > 0 else min(order.stop, price)


@compiled
def _drop(account: Account, place: int) -> None:
    """Take an order away with everything that waits for it."""
    account.orders[place].kind = GONE
    order_id = account.orders[place].order_id
    for other in range(account.counts[ORDERS]):
        if account.orders[other].parent == order_id:
            account.orders[other].kind = GONE


@compiled
def _compact(account: Account) -> None:
    kept = 0
    for place in range(account.counts[ORDERS]):
        if account.orders[place].kind != GONE:
            if kept != place:
                account.orders[kept] = account.orders[place]
            kept += 1
    account.counts[ORDERS] = kept
