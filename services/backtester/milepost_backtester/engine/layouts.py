"""The flat state that the rules work on: named columns in tables, one array for each table.

A table is a numpy array of records with room for more rows than are used; ``counts`` says how many are. All
columns are 8 bytes wide.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Table: TypeAlias = Any
"""An array of records; the type checker knows no columns."""
Row: TypeAlias = Any
"""One record of a table; columns are its attributes in compiled code."""
Prices: TypeAlias = Any
"""(symbols, bars); one element is a float, which the type checker does not know either."""

# Kinds of orders.
GONE = -1
MARKET = 0
LIMIT = 1
STOP = 2
STOP_LIMIT = 3
TRAILING = 4

# Places in ``money``.
CASH = 0
BORROW_COST = 1
MONEY_PLACES = 2

# Places in ``counts``.
NEXT_ORDER_ID = 0
ORDERS = 1
LOTS = 2
FILLS = 3
TRADES = 4
REFUSED = 5
EXPIRED = 6
MARGIN_CALLS = 7
COUNT_PLACES = 8

SCHEDULED_ROOM = 1 << 16
"""More than there are orders that one call puts in line."""

# When the kernel returns before the end, apart from ``GROW``.
NEVER = 0
AT_EVENT = 1
WHEN_WANTED = 2

# Places in the prices and counts of what wakes a strategy.
WAKE_ABOVE, WAKE_BELOW = 0, 1
WAKE_EVERY, WAKE_ON_CHANGE, WAKE_AT = 0, 1, 2

# Why the kernel returned.
DONE = 0
GROW = 1
EVENT = 2
FAULT = 3
REASONS = 4

ORDER = np.dtype(
    [
        ("order_id", np.int64),
        ("quantity", np.float64),
        ("submitted_bar", np.int64),
        ("symbol", np.int64),
        ("kind", np.int64),
        ("limit", np.float64),
        ("stop", np.float64),
        ("trail", np.float64),
        ("trail_rate", np.float64),
        ("extreme", np.float64),
        ("day", np.int64),
        ("group", np.int64),
        ("parent", np.int64),
        ("reduce_only", np.int64),
        ("triggered", np.int64),
        # For the rest of one bar only: the first bar whose whole range counts for the order.
        ("since_bar", np.int64),
    ]
)

LOT = np.dtype(
    [
        ("order_id", np.int64),
        ("bar", np.int64),
        ("price", np.float64),
        ("quantity", np.float64),
        ("commission", np.float64),
        ("highest", np.float64),
        ("lowest", np.float64),
        ("symbol", np.int64),
    ]
)

FILL = np.dtype(
    [
        ("order_id", np.int64),
        ("submitted_bar", np.int64),
        ("bar", np.int64),
        ("quantity", np.float64),
        ("price", np.float64),
        ("commission", np.float64),
        ("symbol", np.int64),
    ]
)

TRADE = np.dtype(
    [
        ("entry_order_id", np.int64),
        ("exit_order_id", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("quantity", np.float64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("commission", np.float64),
        ("pnl", np.float64),
        ("max_favourable_excursion", np.float64),
        ("max_adverse_excursion", np.float64),
        ("symbol", np.int64),
    ]
)

TURN = np.dtype(
    [
        ("symbol", np.int64),
        # The address of a frame with the symbol's own bars, parameters and memory.
        ("frame", np.int64),
        # Place of its next own bar.
        ("bar", np.int64),
    ]
)
"""Whose turn it is when a compiled ``on_bar`` of one symbol is applied to each of several."""

RULES = np.dtype(
    [
        ("commission_fixed", np.float64),
        ("commission_per_unit", np.float64),
        ("commission_rate", np.float64),
        ("commission_minimum", np.float64),
        ("slippage_fixed", np.float64),
        ("slippage_rate", np.float64),
        ("slippage_random_rate", np.float64),
        ("slippage_seed", np.int64),
        ("spread", np.float64),
        ("leverage_max", np.float64),
        ("maintenance_margin", np.float64),
        ("borrow_rate", np.float64),
        ("orders_from", np.int64),
    ]
)
"""One record: what trading costs, how much may be borrowed, and the first bar at which orders are accepted."""


class BarArrays(NamedTuple):
    """Bars of all symbols: (symbols, bars), and their times: (bars,).

    Where a symbol has no bar, open, high and low are not a number and close is the last one, 0 before the first.
    """

    timestamp: Prices
    open: Prices
    high: Prices
    low: Prices
    close: Prices


class Account(NamedTuple):
    """Everything that orders change."""

    money: Prices
    counts: Prices
    position: Prices
    """Units held of each symbol; negative when short."""
    orders: Table
    """In the order of submission."""
    lots: Table
    """Oldest first."""
    fills: Table
    trades: Table
