"""The logs as columns: what a segment of a checkpoint holds, and what a result file adds to it."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np

from milepost_backtester.engine.bars import Integers
from milepost_backtester.engine.records import Fill, Logs, RoundTrip
from milepost_backtester.parquet import TIMESTAMP, Schema, Table, pa

Columns: TypeAlias = dict[str, Any]


def _schema_of(record: type[Fill] | type[RoundTrip]) -> Schema:
    kinds: dict[object, Any] = {int: pa.int64(), float: pa.float64()}
    return pa.schema([pa.field(field.name, kinds[field.type], nullable=False) for field in fields(record)])


def _float(name: str) -> Any:
    return pa.field(name, pa.float64(), nullable=False)


def _time(name: str) -> Any:
    return pa.field(name, TIMESTAMP, nullable=False)


EQUITY = pa.schema([_float("equity"), _float("cash"), _float("position")])
FILLS = _schema_of(Fill)
TRADES = _schema_of(RoundTrip)
SEGMENT_SCHEMAS: Mapping[str, Schema] = {"equity": EQUITY, "fills": FILLS, "trades": TRADES}
"""Logs by the name that their segments begin with."""

EQUITY_RESULT = pa.schema([_time("timestamp"), *EQUITY])
FILLS_RESULT = pa.schema([*FILLS, _time("time")])
TRADES_RESULT = pa.schema([*TRADES, _time("entry_time"), _time("exit_time")])


def lengths(logs: Logs) -> dict[str, int]:
    """Return how many rows each log has."""
    return {"equity": len(logs.equity), "fills": len(logs.fills), "trades": len(logs.trades)}


def copy_rows(logs: Logs, name: str, start: int, stop: int) -> "RowsCopy":
    """Return a copy of some rows that later bars cannot change: a few memory copies, no conversion."""
    match name:
        case "equity":
            return RowsCopy(
                name,
                marks={
                    "equity": logs.equity[start:stop],
                    "cash": logs.cash[start:stop],
                    "position": logs.position[start:stop],
                },
            )
        case "fills":
            return RowsCopy(name, records=logs.fills[start:stop])
        case "trades":
            return RowsCopy(name, records=logs.trades[start:stop])
        case _:
            raise ValueError(f"no log is called {name!r}")


class RowsCopy:
    """Rows of one log, turned into columns only when they are written."""

    def __init__(
        self,
        name: str,
        *,
        marks: Mapping[str, "array[float]"] | None = None,
        records: Sequence[Fill | RoundTrip] = (),
    ) -> None:
        self._name = name
        self._marks = marks
        self._records = records

    def columns(self) -> Columns:
        """Return the columns of the log's schema."""
        if self._marks is not None:
            return {name: np.frombuffer(values, dtype=np.float64) for name, values in self._marks.items()}
        return record_columns(self._records, SEGMENT_SCHEMAS[self._name])


def record_columns(records: Sequence[Fill | RoundTrip], schema: Schema) -> Columns:
    """Return records as columns."""
    return {name: [getattr(record, name) for record in records] for name in schema.names}


def append_table(logs: Logs, name: str, table: Table, rows: int) -> None:
    """Append the first ``rows`` rows of a segment to a log."""
    part = table.slice(0, rows)
    if name == "equity":
        for mark_name in EQUITY.names:
            log: array[float] = getattr(logs, mark_name)
            log.frombytes(np.ascontiguousarray(part[mark_name].to_numpy(), dtype=np.float64).tobytes())
    elif name == "fills":
        logs.fills.extend(Fill(**row) for row in part.to_pylist())
    else:
        logs.trades.extend(RoundTrip(**row) for row in part.to_pylist())


def times_at(timestamp: Integers, bars: Sequence[int]) -> Integers:
    """Return the times of some bars."""
    return timestamp[np.array(bars, dtype=np.int64)]
