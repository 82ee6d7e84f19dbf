"""Borrowing: how much may be held, what shorts cost, and when positions are closed by force."""

from math import inf

import numpy as np

from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.layouts import (
    BORROW_COST,
    CASH,
    MARGIN_CALLS,
    MARKET,
    NEXT_ORDER_ID,
    ORDERS,
    Account,
    BarArrays,
    Row,
    Table,
)

YEAR_NANOSECONDS = 365.25 * 24 * 3600 * 1e9


@compiled
def submit_market(account: Account, bar: int, symbol: int, quantity: float) -> None:
    """Put a market order in line for the next open."""
    order = account.orders[account.counts[ORDERS]]
    order.order_id = account.counts[NEXT_ORDER_ID]
    order.quantity = quantity
    order.submitted_bar = bar
    order.symbol = symbol
    order.kind = MARKET
    order.limit = 0.0
    order.stop = 0.0
    order.trail = 0.0
    order.trail_rate = 0.0
    order.extreme = 0.0
    order.since_bar = 0
    order.day = 0
    order.group = 0
    order.parent = 0
    order.reduce_only = 0
    order.triggered = 0
    account.counts[NEXT_ORDER_ID] += 1
    account.counts[ORDERS] += 1


@compiled
def exceeds_leverage(
    account: Account,
    order: Row,
    price: float,
    quantity: float,
    commission: float,
    bars: BarArrays,
    bar: int,
    rules: Table,
) -> bool:
    """Say whether a fill that adds exposure would leave more of it than leverage allows.

    Exposure is the sum of all positions' absolute values and equity what the account is worth after the
    commission: the order's symbol at the price of the fill, others at the bar's open, or at their last close where
    they have no bar.
    """
    held = account.position[order.symbol]
    if rules[0].leverage_max == inf or abs(held + quantity) <= abs(held):
        return False
    equity = account.money[CASH] - commission
    exposure = 0.0
    for symbol in range(len(account.position)):
        position = account.position[symbol]
        if symbol == order.symbol:
            equity += position * price
            exposure += abs(position + quantity) * price
        else:
            other = bars.open[symbol, bar]
            if np.isnan(other):
                other = bars.close[symbol, bar]
            equity += position * other
            exposure += abs(position) * other
    return exposure > rules[0].leverage_max * equity


@compiled
def charge_borrowing(account: Account, bar: int, bars: BarArrays, rules: Table) -> None:
    """Charge shorts for the time since the bar before, on their value at the close; the first bar has none."""
    years = (bars.timestamp[bar] - bars.timestamp[bar - 1]) / YEAR_NANOSECONDS
    for symbol in range(len(account.position)):
        if account.position[symbol] < 0:
            cost = -account.position[symbol] * bars.close[symbol, bar] * (rules[0].borrow_rate * years)
            account.money[CASH] -= cost
            account.money[BORROW_COST] += cost


@compiled
def call_margin(account: Account, bar: int, equity: float, bars: BarArrays, rules: Table) -> bool:
    """At the close: with less equity than maintenance asks for, drop all orders and close everything.

    The closing orders fill at the next open, as market orders, at the usual cost; the strategy sees them waiting.
    While those of an earlier call still wait for bars of their symbols, there is nothing more to call.
    """
    exposure = 0.0
    for symbol in range(len(account.position)):
        exposure += abs(account.position[symbol]) * bars.close[symbol, bar]
    if exposure == 0 or equity >= rules[0].maintenance_margin * exposure or _closes_all(account):
        return False
    account.counts[ORDERS] = 0
    for symbol in range(len(account.position)):
        if account.position[symbol] != 0:
            submit_market(account, bar, symbol, -account.position[symbol])
    account.counts[MARGIN_CALLS] += 1
    return True


@compiled
def _closes_all(account: Account) -> bool:
    """Say whether each position has a market order waiting that closes it."""
    for symbol in range(len(account.position)):
        closes = account.position[symbol] == 0
        for place in range(account.counts[ORDERS]):
            order = account.orders[place]
            at_market = order.kind == MARKET and order.parent == 0 and order.symbol == symbol
            if at_market and order.quantity == -account.position[symbol]:
                closes = True
        if not closes:
            return False
    return True
