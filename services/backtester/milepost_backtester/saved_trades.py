"""Round trips in a checkpoint: only what does not follow from the fills that opened and closed them.

An order fills once, so its id says at which bar and price, and the profit is made of those by the kernel's own
operations. What is left is half of a row, which somebody who cancels does not have to wait for.
"""

from collections.abc import Sequence

import numpy as np

from milepost_backtester.engine.bars import Integers
from milepost_backtester.engine.layouts import TRADE
from milepost_backtester.engine.layouts import Table as RecordTable
from milepost_backtester.parquet import Table
from milepost_backtester.tables import ROW, TRADE_ROWS, records, rows_schema_of

SAVED = (
    "entry_order_id",
    "exit_order_id",
    "quantity",
    "commission",
    "max_favourable_excursion",
    "max_adverse_excursion",
)
SAVED_TRADE = np.dtype([(name, TRADE[name]) for name in SAVED])
SAVED_TRADE_ROWS = rows_schema_of(SAVED_TRADE)
WHOLE_TRADE_ROWS = TRADE_ROWS
"""What checkpoints hold that were written before this was left out."""
_PLACES = np.array([(TRADE.names or ()).index(name) for name in SAVED])


class UnknownOrderError(Exception):
    """A round trip names an order that no fill has; the message says which."""


def saved_trades(trades: RecordTable) -> RecordTable:
    """Return a copy of what is saved of some round trips."""
    cells = trades.view(np.int64).reshape(-1, len(TRADE.names or ()))
    return cells.take(_PLACES, axis=1).view(SAVED_TRADE).reshape(-1)


def trades_of(parts: Sequence[Table], fills: RecordTable) -> RecordTable:
    """Return whole round trips, of tables that hold them saved or whole; ``fills``: all of them.

    Raises:
        UnknownOrderError: a round trip names an order that is not among the fills.
    """
    return np.concatenate([np.empty(0, TRADE), *(_trades_of(part, fills) for part in parts)])


def _trades_of(part: Table, fills: RecordTable) -> RecordTable:
    if part.schema.field(ROW).type.byte_width == TRADE.itemsize:
        return records([part], TRADE)
    saved = records([part], SAVED_TRADE)
    trades: RecordTable = np.empty(len(saved), TRADE)
    for name in SAVED:
        trades[name] = saved[name]
    order_of = np.argsort(fills["order_id"])
    for end in ("entry", "exit"):
        filled = fills[order_of[_places(fills["order_id"][order_of], saved[f"{end}_order_id"])]]
        trades[f"{end}_bar"], trades[f"{end}_price"] = filled["bar"], filled["price"]
        trades["symbol"] = filled["symbol"]
    gained = trades["quantity"] * (trades["exit_price"] - trades["entry_price"])
    trades["pnl"] = gained - trades["commission"]
    return trades


def _places(known: Integers, wanted: Integers) -> Integers:
    """Return where each id is among those in order."""
    places = np.searchsorted(known, wanted)
    unknown = (
        wanted[(places == len(known)) | (known.take(places, mode="clip") != wanted)] if len(known) else wanted
    )
    if len(unknown):
        raise UnknownOrderError(f"a round trip names order {unknown[0]}, which no fill has")
    return places
