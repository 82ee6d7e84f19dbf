"""Lots and round trips: what a fill opens and closes, first in first out, one symbol at a time.

A fill against the position that is at least as large closes every lot of the symbol and opens a new one with what
is left; a smaller one takes units from the oldest lots. Each operation rounds once, in a fixed order.
"""

import numpy as np

from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.layouts import LOTS, TRADES, Account, Prices, Row


@compiled
def change_position(
    account: Account, order: Row, bar: int, price: float, quantity: float, commission: float, inside: bool
) -> None:
    """Take a fill of ``quantity`` units of the order's symbol into position and lots.

    ``inside``: the fill lies somewhere inside the bar rather than at its open.
    """
    symbol = order.symbol
    held = account.position[symbol]
    account.position[symbol] = held + quantity
    if held == 0 or (held > 0) == (quantity > 0):
        _open(account, order, bar, price, quantity, commission, inside)
    elif abs(quantity) < abs(held):
        _reduce(account, order, bar, price, quantity, commission)
    else:
        closing = commission * (abs(held) / abs(quantity))
        _close_all(account, order, bar, price, held, closing)
        if account.position[symbol] != 0:
            _open(account, order, bar, price, account.position[symbol], commission - closing, inside)


@compiled
def observe(lot: Row, bar: int, high: Prices, low: Prices, close: Prices) -> None:
    """Widen the excursions of a lot by the range of a bar; when it was entered inside it, by its close.

    Where the symbol has no bar its range is not a number, which no comparison finds to be wider.
    """
    symbol = lot.symbol
    if np.isnan(lot.highest):
        lot.highest = max(lot.price, close[symbol, bar])
        lot.lowest = min(lot.price, close[symbol, bar])
    else:
        if high[symbol, bar] > lot.highest:
            lot.highest = high[symbol, bar]
        if low[symbol, bar] < lot.lowest:
            lot.lowest = low[symbol, bar]


@compiled
def observe_bars(lot: Row, start: int, stop: int, high: Prices, low: Prices, close: Prices) -> None:
    """The same for bars from ``start`` to before ``stop``, at least one."""
    observe(lot, start, high, low, close)
    symbol, highest, lowest = lot.symbol, lot.highest, lot.lowest
    for bar in range(start + 1, stop):
        if high[symbol, bar] > highest:
            highest = high[symbol, bar]
        if low[symbol, bar] < lowest:
            lowest = low[symbol, bar]
    lot.highest, lot.lowest = highest, lowest


@compiled
def _open(
    account: Account, order: Row, bar: int, price: float, quantity: float, commission: float, inside: bool
) -> None:
    lot = account.lots[account.counts[LOTS]]
    lot.order_id = order.order_id
    lot.bar = bar
    lot.price = price
    lot.quantity = quantity
    lot.commission = commission
    # Not a number until the end of the bar: which part of its range came after the entry is not known.
    lot.highest = np.nan if inside else price
    lot.lowest = np.nan if inside else price
    lot.symbol = order.symbol
    account.counts[LOTS] += 1


@compiled
def _close_all(account: Account, order: Row, bar: int, price: float, held: float, closing: float) -> None:
    kept = 0
    for place in range(account.counts[LOTS]):
        lot = account.lots[place]
        if lot.symbol == order.symbol:
            share = closing * (lot.quantity / held)
            _log_trade(account, place, order, bar, price, lot.quantity, lot.commission + share)
        else:
            account.lots[kept] = account.lots[place]
            kept += 1
    account.counts[LOTS] = kept


@compiled
def _reduce(account: Account, order: Row, bar: int, price: float, quantity: float, commission: float) -> None:
    """Take units from the oldest lots; the newest keeps what rounding leaves, so no dust appears."""
    position = account.position[order.symbol]
    left = abs(quantity)
    sign = 1.0 if position > 0 else -1.0
    remaining = 0
    for place in range(account.counts[LOTS]):
        if account.lots[place].symbol == order.symbol:
            remaining += 1
    kept = 0
    for place in range(account.counts[LOTS]):
        lot = account.lots[place]
        if lot.symbol == order.symbol and left > 0:
            size = abs(lot.quantity)
            if left >= size and remaining > 1:
                share = commission * (size / abs(quantity))
                _log_trade(account, place, order, bar, price, lot.quantity, lot.commission + share)
                left -= size
                remaining -= 1
                continue
            rest = position if remaining == 1 else sign * (size - left)
            closed = lot.quantity - rest
            entry_commission = lot.commission * (abs(closed) / size)
            share = commission * (abs(closed) / abs(quantity))
            _log_trade(account, place, order, bar, price, closed, entry_commission + share)
            lot.quantity = rest
            lot.commission -= entry_commission
            left = 0.0
        account.lots[kept] = account.lots[place]
        kept += 1
    account.counts[LOTS] = kept


@compiled
def _log_trade(
    account: Account, place: int, order: Row, bar: int, price: float, quantity: float, commission: float
) -> None:
    lot = account.lots[place]
    # Of the range of the exit's bar only the exit's price counts.
    highest, lowest = price, price
    if not np.isnan(lot.highest):
        highest, lowest = max(lot.highest, price), min(lot.lowest, price)
    else:
        highest, lowest = max(lot.price, price), min(lot.price, price)
    best, worst = (highest, lowest) if quantity > 0 else (lowest, highest)
    trade = account.trades[account.counts[TRADES]]
    trade.entry_order_id = lot.order_id
    trade.exit_order_id = order.order_id
    trade.entry_bar = lot.bar
    trade.exit_bar = bar
    trade.quantity = quantity
    trade.entry_price = lot.price
    trade.exit_price = price
    trade.commission = commission
    trade.pnl = quantity * (price - lot.price) - commission
    trade.max_favourable_excursion = quantity * (best - lot.price)
    trade.max_adverse_excursion = quantity * (lot.price - worst)
    trade.symbol = lot.symbol
    account.counts[TRADES] += 1
