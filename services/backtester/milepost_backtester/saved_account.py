"""The account in a checkpoint: only what does not follow from the fills, which are in the checkpoint too.

A saved row is the account at the close of a bar. It holds until the next row, changed by the fills between the
two by the kernel's own operations in their order, so that every bit comes back. Where nothing but fills changes
cash, the first bar of a segment is enough; of shorts that cost, each bar that changed something is saved.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import Table as RecordTable
from milepost_backtester.engine.records import Logs
from milepost_backtester.parquet import Schema, Table, pa
from milepost_backtester.tables import Columns, equity_schema, joined


def account_schema(symbols: int) -> Schema:
    """Return the columns of the account's rows: equity follows from them and the closes."""
    return pa.schema([pa.field("bar", pa.int64(), nullable=False), *list(equity_schema(symbols))[1:]])


def account_columns(logs: Logs, start: int, stop: int, *, only_fills: bool = False) -> Columns:
    """Return the account at the first of some bars, and wherever cash or a position changed since.

    ``only_fills``: nothing else changes them, so the first bar is all.
    """
    part = slice(start, min(start + 1, stop) if only_fills else stop)
    columns = (logs.cash[part], *np.atleast_2d(logs.position)[:, part])
    changed = np.zeros(len(columns[0]), dtype=np.bool_)
    changed[:1] = True
    for column in columns:
        bits = column.view(np.int64)
        changed[1:] |= bits[1:] != bits[:-1]
    bars = np.flatnonzero(changed)
    names = account_schema(len(columns) - 1).names
    return dict(zip(names, (bars + start, *(column[bars] for column in columns)), strict=True))


def account_of(
    parts: Sequence[Table], fills: RecordTable, closes: Floats, bars: int
) -> tuple[Floats, Floats, Floats]:
    """Return equity, cash and positions of the first ``bars`` bars: (bars,), (bars,), (symbols, bars).

    ``fills``: all of them, in their order. ``closes``: (symbols, bars). Equity is made by the same operations in
    the same order as the kernel marks it.
    """
    starts, cash_then, *held_then = (
        joined(parts, field.name, np.dtype(field.type.to_pandas_dtype()))
        for field in account_schema(len(closes))
    )
    stops = np.append(starts[1:], bars)
    cash = np.repeat(cash_then, stops - starts)
    positions = np.stack([np.repeat(column, stops - starts) for column in held_then])
    first = cast("Integers", np.searchsorted(fills["bar"], starts, side="right"))
    last = cast("Integers", np.searchsorted(fills["bar"], stops))
    for row in np.flatnonzero(first < last):
        lasts = slice(starts[row], stops[row])
        _follow(cash[lasts], positions[:, lasts], fills[first[row] : last[row]], starts[row])
    equity = cash.copy()
    for position, close in zip(positions, closes, strict=True):
        equity += position * close[:bars]
    return equity, cash, positions


def _follow(cash: Floats, positions: Floats, fills: RecordTable, start: int) -> None:
    """Change an account that stands still from bar ``start`` on by later fills, as ``matching`` does."""
    bars, quantity = fills["bar"] - start, fills["quantity"]
    # The price is paid and then the commission: two operations, each rounds.
    paid = np.column_stack((quantity * fills["price"], fills["commission"])).ravel()
    _spread(cash, bars, _running(cash[0], -paid)[1::2])
    for symbol, position in enumerate(positions):
        own = fills["symbol"] == symbol
        _spread(position, bars[own], _running(position[0], quantity[own]))


def _running(first: Any, steps: Floats) -> Floats:
    """Return ``first`` after each step; one sum after the other, as numpy accumulates."""
    return np.add.accumulate(np.concatenate(([first], steps)))[1:]


def _spread(values: Floats, bars: Integers, after: Floats) -> None:
    """Let each value hold from its bar to the next one's; of several at one bar the last holds."""
    lasting = np.diff(bars, prepend=0, append=len(values))
    values[:] = np.repeat(np.concatenate((values[:1], after)), lasting)
