"""The logs as columns: what a segment of a checkpoint holds, and what a result file adds to it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from milepost_backtester.engine.bars import Integers
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


def rows_schema_of(layout: Any) -> Schema:
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


FILLS = _schema_of(FILL)
TRADES = _schema_of(TRADE)
FILL_ROWS = rows_schema_of(FILL)
TRADE_ROWS = rows_schema_of(TRADE)


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


def record_columns(rows: RecordTable) -> Columns:
    """Return the columns of a table of records; they refer to it."""
    return {name: rows[name] for name in rows.dtype.names or ()}


def logs_of(parts: Mapping[str, Sequence[Table]], symbols: int) -> Logs:
    """Return the logs that these tables hold, one after the other."""
    names = equity_schema(symbols).names
    equity, cash, *positions = (joined(parts["equity"], name, np.dtype(np.float64)) for name in names)
    return Logs(
        equity,
        cash,
        positions[0] if len(positions) == 1 else np.stack(positions),
        fills=records(parts["fills"], FILL),
        trades=records(parts["trades"], TRADE),
    )


def records(parts: Sequence[Table], layout: Any) -> RecordTable:
    """Return the whole records that some tables hold, one after the other."""
    chunks = [chunk for part in parts for chunk in part[ROW].chunks]
    rows = [
        np.frombuffer(chunk.buffers()[1], layout, len(chunk), chunk.offset * layout.itemsize)
        for chunk in chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, layout), *rows])


def joined(parts: Sequence[Table], column: str, kind: Any) -> Any:
    """Return one column of some tables, one after the other."""
    return np.concatenate([np.empty(0, kind), *(part[column].to_numpy() for part in parts)])


def names_at(symbols: Sequence[str], places: Integers) -> Any:
    """Return the names of some symbols by their places."""
    return np.array(symbols, dtype=object)[places]


def times_at(timestamp: Integers, bars: Integers) -> Integers:
    """Return the times of some bars."""
    return timestamp[bars]
