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


def _schema_of(layout: Any) -> Schema:
    return pa.schema(
        [pa.field(name, pa.from_numpy_dtype(layout[name]), nullable=False) for name in layout.names]
    )


def _float(name: str) -> Any:
    return pa.field(name, pa.float64(), nullable=False)


def _time(name: str) -> Any:
    return pa.field(name, TIMESTAMP, nullable=False)


EQUITY = pa.schema([_float("equity"), _float("cash"), _float("position")])
FILLS = _schema_of(FILL)
TRADES = _schema_of(TRADE)
SEGMENT_SCHEMAS: Mapping[str, Schema] = {"equity": EQUITY, "fills": FILLS, "trades": TRADES}
"""Logs by the name that their segments begin with."""

EQUITY_RESULT = pa.schema([_time("timestamp"), *EQUITY])
FILLS_RESULT = pa.schema([*FILLS, _time("time")])
TRADES_RESULT = pa.schema([*TRADES, _time("entry_time"), _time("exit_time")])


def lengths(logs: Logs) -> dict[str, int]:
    """Return how many rows each log has."""
    return {"equity": len(logs.equity), "fills": len(logs.fills), "trades": len(logs.trades)}


def columns_of(logs: Logs, name: str, start: int, stop: int) -> Columns:
    """Return a copy of some rows that later bars cannot change, by column."""
    part = slice(start, stop)
    match name:
        case "equity":
            return {column: getattr(logs, column)[part].copy() for column in EQUITY.names}
        case "fills":
            return record_columns(logs.fills[part].copy())
        case "trades":
            return record_columns(logs.trades[part].copy())
        case _:
            raise ValueError(f"no log is called {name!r}")


def record_columns(rows: RecordTable) -> Columns:
    """Return the columns of a table of records; they refer to it."""
    return {name: rows[name] for name in rows.dtype.names or ()}


def logs_of(parts: Mapping[str, Sequence[Table]]) -> Logs:
    """Return the logs that these tables hold, one after the other."""
    marks = {column: _joined(parts["equity"], column, np.dtype(np.float64)) for column in EQUITY.names}
    return Logs(**marks, fills=_records(parts["fills"], FILL), trades=_records(parts["trades"], TRADE))


def _records(parts: Sequence[Table], layout: Any) -> RecordTable:
    rows = np.empty(sum(part.num_rows for part in parts), layout)
    for name in layout.names:
        rows[name] = _joined(parts, name, layout[name])
    return rows


def _joined(parts: Sequence[Table], column: str, kind: Any) -> Any:
    return np.concatenate([np.empty(0, kind), *(part[column].to_numpy() for part in parts)])


def times_at(timestamp: Integers, bars: Integers) -> Integers:
    """Return the times of some bars."""
    return timestamp[bars]
