"""The logs as columns: what a segment of a checkpoint holds, and what a result file adds to it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import FILL, TRADE
from milepost_backtester.engine.layouts import Table as RecordTable
from milepost_backtester.engine.records import Logs
from milepost_backtester.parquet import TIMESTAMP, Schema, Table, pa

Columns: TypeAlias = dict[str, Any]
ROW = "row"
"""The one column of a segment of records."""


def _schema_of(layout: Any) -> Schema:
    return pa.schema(
        [pa.field(name, pa.from_numpy_dtype(layout[name]), nullable=False) for name in layout.names]
    )


def _rows_schema_of(layout: Any) -> Schema:
    """Return one column that holds whole records as they lie in memory: nothing is gathered to save them."""
    kind = pa.binary(layout.itemsize)
    return pa.schema([pa.field(ROW, kind, nullable=False, metadata={"layout": str(layout.descr)})])


def _float(name: str) -> Any:
    return pa.field(name, pa.float64(), nullable=False)


def _time(name: str) -> Any:
    return pa.field(name, TIMESTAMP, nullable=False)


def _word(name: str) -> Any:
    return pa.field(name, pa.string(), nullable=False)


def equity_schema(symbols: int) -> Schema:
    """Return the columns of the account: of several symbols each has its position, by its place."""
    positions = ["position"] if symbols == 1 else [f"position_{place}" for place in range(symbols)]
    return pa.schema([_float(name) for name in ("equity", "cash", *positions)])


def segment_schemas(symbols: int) -> Mapping[str, Schema]:
    """Return logs by the name that their segments begin with."""
    return {"equity": equity_schema(symbols), "fills": FILL_ROWS, "trades": TRADE_ROWS}


def account_schema(symbols: int) -> Schema:
    """Return the columns of the account where it changes: equity follows from them and the closes."""
    return pa.schema([pa.field("bar", pa.int64(), nullable=False), *list(equity_schema(symbols))[1:]])


FILLS = _schema_of(FILL)
TRADES = _schema_of(TRADE)
FILL_ROWS = _rows_schema_of(FILL)
TRADE_ROWS = _rows_schema_of(TRADE)


def equity_result(symbols: Sequence[str]) -> Schema:
    """Return the columns of the result file: the positions of several symbols by their names."""
    positions = ["position"] if len(symbols) == 1 else [f"position_{name}" for name in symbols]
    return pa.schema([_time("timestamp"), *(_float(name) for name in ("equity", "cash", *positions))])


FILLS_RESULT = pa.schema(
    [*(field for field in FILLS if field.name != "symbol"), _word("symbol"), _time("time")]
)
TRADES_RESULT = pa.schema(
    [
        *(field for field in TRADES if field.name != "symbol"),
        _word("symbol"),
        _time("entry_time"),
        _time("exit_time"),
    ]
)


def lengths(logs: Logs) -> dict[str, int]:
    """Return how many rows each log has."""
    return {"equity": len(logs.equity), "fills": len(logs.fills), "trades": len(logs.trades)}


def columns_of(logs: Logs, name: str, start: int, stop: int) -> Columns:
    """Return a copy of some rows that later bars cannot change, by column."""
    part = slice(start, stop)
    match name:
        case "equity":
            positions = np.atleast_2d(logs.position)[:, part]
            columns = (logs.equity[part], logs.cash[part], *positions)
            names = equity_schema(len(positions)).names
            return {name: column.copy() for name, column in zip(names, columns, strict=True)}
        case "fills":
            return {ROW: logs.fills[part].copy()}
        case "trades":
            return {ROW: logs.trades[part].copy()}
        case _:
            raise ValueError(f"no log is called {name!r}")


def account_columns(logs: Logs, start: int, stop: int, changing: Integers | None = None) -> Columns:
    """Return cash and positions at the first of some bars and wherever one of them may have changed since.

    ``changing``: bars from ``start`` to before ``stop`` that change the account, in order, also repeated; None:
    each bar is compared with the one before, bit for bit. Between two fills both stand still, so this is a small
    part of the bars; of shorts that cost, it is all.
    """
    part = slice(start, stop)
    columns = (logs.cash[part], *np.atleast_2d(logs.position)[:, part])
    if changing is None:
        changed = np.zeros(stop - start, dtype=np.bool_)
        changed[:1] = True
        for column in columns:
            bits = column.view(np.int64)
            changed[1:] |= bits[1:] != bits[:-1]
        bars = np.flatnonzero(changed)
    else:
        bars = np.concatenate((np.zeros(min(1, stop - start), dtype=np.int64), changing - start))
        bars = bars[np.diff(bars, prepend=-1) > 0]
    names = account_schema(len(columns) - 1).names
    return dict(zip(names, (bars + start, *(column[bars] for column in columns)), strict=True))


def account_of(parts: Sequence[Table], closes: Floats, bars: int) -> tuple[Floats, Floats, Floats]:
    """Return equity, cash and positions of the first ``bars`` bars: (bars,), (bars,), (symbols, bars).

    ``closes``: (symbols, bars). Equity is made by the same operations in the same order as the kernel marks it.
    """
    changes, cash, *held = (
        _joined(parts, field.name, np.dtype(field.type.to_pandas_dtype()))
        for field in account_schema(len(closes))
    )
    lasting = np.diff(changes, append=bars)
    cash = np.repeat(cash, lasting)
    positions = np.stack([np.repeat(column, lasting) for column in held])
    equity = cash.copy()
    for position, close in zip(positions, closes, strict=True):
        equity += position * close[:bars]
    return equity, cash, positions


def record_columns(rows: RecordTable) -> Columns:
    """Return the columns of a table of records; they refer to it."""
    return {name: rows[name] for name in rows.dtype.names or ()}


def logs_of(parts: Mapping[str, Sequence[Table]], symbols: int) -> Logs:
    """Return the logs that these tables hold, one after the other."""
    names = equity_schema(symbols).names
    equity, cash, *positions = (_joined(parts["equity"], name, np.dtype(np.float64)) for name in names)
    return _logs(equity, cash, np.stack(positions), parts)


def logs_of_changes(parts: Mapping[str, Sequence[Table]], closes: Floats, bars: int) -> Logs:
    """Return the logs of the first ``bars`` bars, of an account that was saved where it changed."""
    return _logs(*account_of(parts["account"], closes, bars), parts)


def _logs(equity: Floats, cash: Floats, positions: Floats, parts: Mapping[str, Sequence[Table]]) -> Logs:
    return Logs(
        equity,
        cash,
        positions[0] if len(positions) == 1 else positions,
        fills=_records(parts["fills"], FILL),
        trades=_records(parts["trades"], TRADE),
    )


def _records(parts: Sequence[Table], layout: Any) -> RecordTable:
    chunks = [chunk for part in parts for chunk in part[ROW].chunks]
    rows = [
        np.frombuffer(chunk.buffers()[1], layout, len(chunk), chunk.offset * layout.itemsize)
        for chunk in chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, layout), *rows])


def _joined(parts: Sequence[Table], column: str, kind: Any) -> Any:
    return np.concatenate([np.empty(0, kind), *(part[column].to_numpy() for part in parts)])


def names_at(symbols: Sequence[str], places: Integers) -> Any:
    """Return the names of some symbols by their places."""
    return np.array(symbols, dtype=object)[places]


def times_at(timestamp: Integers, bars: Integers) -> Integers:
    """Return the times of some bars."""
    return timestamp[bars]
