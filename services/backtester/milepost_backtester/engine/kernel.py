"""The one implementation of a bar, for all tiers.

Each bar: orders act at its open and inside it; the excursions of open lots take in its range; shorts pay for being
borrowed; the account is marked at the close; margin is called; then what is wanted of this bar is ordered for the
next open (compiled rules), or the caller lets a Python strategy decide.

Of several symbols a bar is a moment of the common timeline. Where one has no bar its open, high and low are not a
number and its close is the last one, 0 before the first: it is marked at that and does nothing else.

A bar is atomic: when a table might not have room for what a bar can add, the kernel returns ``GROW`` before it.
"""

from typing import Any

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.decisions import pursue
from milepost_backtester.engine.desk import NO_ORDERS, ORDERS_AT_A_BAR_MAX, Desk
from milepost_backtester.engine.layouts import (
    AT_EVENT,
    CASH,
    DONE,
    EVENT,
    FAULT,
    FILLS,
    GROW,
    LOTS,
    NEVER,
    NEXT_ORDER_ID,
    ORDERS,
    TRADES,
    WAKE_ABOVE,
    WAKE_AT,
    WAKE_BELOW,
    WAKE_EVERY,
    WAKE_ON_CHANGE,
    WHEN_WANTED,
    Account,
    BarArrays,
    Table,
)
from milepost_backtester.engine.lots import observe, observe_bars
from milepost_backtester.engine.margin import call_margin, charge_borrowing, submit_market
from milepost_backtester.engine.matching import match_bar


@compiled
def wakes(
    bar: int,
    changed: bool,
    high: float,
    low: float,
    timestamp: int,
    wake_prices: Floats,
    wake_counts: Integers,
) -> bool:
    """Say whether a strategy wants to see this bar."""
    every, at = wake_counts[WAKE_EVERY], wake_counts[WAKE_AT]
    return bool(
        high >= wake_prices[WAKE_ABOVE]
        or low <= wake_prices[WAKE_BELOW]
        or (changed and wake_counts[WAKE_ON_CHANGE] == 1)
        or (every > 0 and (bar + 1) % every == 0)
        or (at > 0 and timestamp >= at)
    )


@compiled
def run(
    start: int,
    stop: int,
    returns: int,
    wake_prices: Floats,
    wake_counts: Integers,
    timestamp: Integers,
    open_price: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    wanted: Floats,
    wanted_start: int,
    rules: Table,
    money: Floats,
    counts: Integers,
    position: Floats,
    orders: Table,
    lots: Table,
    fills: Table,
    trades: Table,
    equity_marks: Floats,
    cash_marks: Floats,
    position_marks: Floats,
    volume: Floats,
    parameters: Floats,
    memory: Floats,
    fault: Floats,
    turns: Table,
    on_bar: Any,
) -> tuple[int, int]:
    """Do bars from ``start`` to before ``stop``; return how many bars are done and why it returned.

    ``wanted``: positions wanted at the close of each bar from ``wanted_start`` on, (symbols, bars); not a number
    for no wish; no columns when the decisions are made elsewhere. ``returns``: ``AT_EVENT`` after the first bar
    that changed more than marks and excursions, ``WHEN_WANTED`` after the first one that wakes the strategy.
    Marks: (bars,), positions (symbols, bars). ``on_bar``: a compiled function that decides at each close; None
    leaves that code out. It returns ``FAULT`` at the bar of an impossible order, which is not done.
    """
    # Handing arrays on costs more than a quiet bar does, so those bars call nothing.
    bars = BarArrays(timestamp, open_price, high, low, close)
    account = Account(money, counts, position, orders, lots, fills, trades)
    symbols = len(position)
    decides = wanted.shape[1] > 0
    orders_from = rules[0].orders_from
    borrows = rules[0].borrow_rate > 0
    calls = rules[0].maintenance_margin > 0
    room = 2 * symbols
    if on_bar is not None:
        room += ORDERS_AT_A_BAR_MAX * symbols
    passes = symbols == 1 and on_bar is None and returns != WHEN_WANTED
    bar = start
    while bar < stop:
        waiting, held = counts[ORDERS], counts[LOTS]
        # Each order closes lots that exist or that an order of this bar opened, and at most one of them in part.
        if (
            waiting + room > len(orders)
            or held + waiting > len(lots)
            or counts[FILLS] + waiting > len(fills)
            or counts[TRADES] + held + 2 * waiting > len(trades)
        ):
            return bar, GROW
        if passes and waiting == 0 and (held == 0 or not (borrows or calls)):
            # Nothing happens until another position is wanted: the same bars as below, without asking.
            first, cash, units = bar, money[CASH], position[0]
            while bar < stop:
                if decides and bar >= orders_from:
                    wish = wanted[0, bar - wanted_start]
                    if not np.isnan(wish) and wish != units:
                        break
                equity_marks[bar] = cash + units * close[0, bar]
                cash_marks[bar] = cash
                position_marks[0, bar] = units
                bar += 1
            if first < bar:
                for place in range(held):
                    observe_bars(lots[place], first, bar, high, low, close)
            if bar == stop:
                break
        changed = False
        if waiting > 0:
            changed = match_bar(account, bar, bars, rules)
        for place in range(counts[LOTS]):
            observe(lots[place], bar, high, low, close)
        if borrows and counts[LOTS] > 0:
            charge_borrowing(account, bar, bars, rules)
        equity = money[CASH]
        for symbol in range(symbols):
            equity += position[symbol] * close[symbol, bar]
            position_marks[symbol, bar] = position[symbol]
        equity_marks[bar] = equity
        cash_marks[bar] = money[CASH]
        if calls and counts[LOTS] > 0:
            changed = call_margin(account, bar, equity, bars, rules) or changed
        if decides and bar >= orders_from:
            for symbol in range(symbols):
                wish = wanted[symbol, bar - wanted_start]
                if not np.isnan(wish) and (counts[ORDERS] > 0 or wish != position[symbol]):
                    pursue(account, bar, symbol, wish)
        if on_bar is not None:
            orders_max = counts[ORDERS] + ORDERS_AT_A_BAR_MAX * symbols if bar >= orders_from else NO_ORDERS
            desk = Desk(bar, bars, volume, account, orders_max, fault, 0, bar, close, turns)
            on_bar(desk, parameters, memory)
            if fault[0] != 0:
                return bar, FAULT
        bar += 1
        if returns == AT_EVENT and changed:
            return bar, EVENT
        if returns == WHEN_WANTED and wakes(
            bar - 1, changed, high[0, bar - 1], low[0, bar - 1], timestamp[bar - 1], wake_prices, wake_counts
        ):
            return bar, EVENT
    return stop, DONE


@compiled
def run_scheduled(
    start: int,
    place: int,
    order_ids: Integers,
    quantities: Floats,
    submitted_bars: Integers,
    symbols: Integers,
    wake_prices: Floats,
    wake_counts: Integers,
    timestamp: Integers,
    open_price: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    wanted: Floats,
    rules: Table,
    money: Floats,
    counts: Integers,
    position: Floats,
    orders: Table,
    lots: Table,
    fills: Table,
    trades: Table,
    equity_marks: Floats,
    cash_marks: Floats,
    position_marks: Floats,
) -> tuple[int, int]:
    """Put market orders in line from ``place`` on, each after the bar at which it was decided.

    Return how many bars are done and how many orders are in line; with fewer than there are a table needs room.
    ``wanted``: no columns.
    """
    account = Account(money, counts, position, orders, lots, fills, trades)
    while place < len(order_ids):
        bar = submitted_bars[place]
        if start <= bar:
            start, reason = run(
                start, bar + 1, NEVER, wake_prices, wake_counts, timestamp, open_price, high, low, close, wanted,
                0, rules, money, counts, position, orders, lots, fills, trades, equity_marks, cash_marks,
                position_marks, close, money, money, money, lots, None,
            )  # fmt: skip
            if reason == GROW:
                break
        if counts[ORDERS] + 2 * len(position) > len(orders):
            break
        counts[NEXT_ORDER_ID] = order_ids[place]
        submit_market(account, bar, symbols[place], quantities[place])
        place += 1
    return start, place
