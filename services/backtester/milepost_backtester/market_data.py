"""Bars from files: read, checked whole, written in one canonical form whose digest names them.

A row is counted as a person counts in the file: the header of a CSV is line 1; in Parquet the first bar is row 1.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.bar_checks import PROBLEMS_MAX, check_values
from milepost_backtester.bar_doubts import doubtful_bars
from milepost_backtester.bar_files import read_csv, read_parquet
from milepost_backtester.bar_parsing import parse_numbers, parse_timestamps
from milepost_backtester.bar_table import COLUMNS, BarProblem, BarProblemsError, BarTable
from milepost_backtester.engine.bars import Bars
from milepost_backtester.parquet import TIMESTAMP, Array, Schema, pa, read_table, write_table

__all__ = [
    "COLUMNS",
    "PROBLEMS_MAX",
    "BarProblem",
    "BarProblemsError",
    "BarTable",
    "CanonicalBars",
    "check_bars",
    "doubts_about",
    "load_bars",
    "read_bars",
    "to_bars",
    "write_canonical",
]

SCHEMA = pa.schema(
    [pa.field("timestamp", TIMESTAMP, nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in COLUMNS[1:]]
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CanonicalBars:
    """What a catalogue entry says about a canonical file."""

    rows: int
    first: datetime
    last: datetime


def read_bars(path: Path) -> BarTable:
    """Read bars from ``.csv``, ``.csv.gz`` or ``.parquet``; faults are for ``check_bars`` to name.

    Column names are matched in any case, with the usual synonyms (date, datetime, time; vol); others are ignored.

    Raises:
        BarProblemsError: the file is of another type or cannot be read at all.
        OSError: it is not there, or may not be read.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path)
    if name.endswith((".parquet", ".pq")):
        return read_parquet(path)
    raise BarProblemsError([BarProblem(None, "", f"{path.name}: give a .csv, .csv.gz or .parquet file")])


def check_bars(table: BarTable) -> list[BarProblem]:
    """Return every fault, in the order of rows; none means that the bars can be used.

    At most ``PROBLEMS_MAX`` are listed; a last one then says how many there are.
    """
    return _convert(table)[1]


def doubts_about(table: BarTable) -> list[BarProblem]:
    """Return what may be right but is worth a look, in the order of rows: gaps, spikes, jumps.

    At most ``PROBLEMS_MAX`` are listed; a last one then says how many there are.

    Raises:
        BarProblemsError: the bars have faults.
    """
    return _capped(doubtful_bars(to_bars(table), table.rows))


def to_bars(table: BarTable) -> Bars:
    """Return the bars as arrays.

    Raises:
        BarProblemsError: they have faults.
    """
    bars, problems = _convert(table)
    if bars is None or problems:
        raise BarProblemsError(problems)
    return bars


def write_canonical(table: BarTable, path: Path) -> CanonicalBars:
    """Write the canonical Parquet file: timestamp (UTC, ns) and five columns of float64, always the same bytes.

    Raises:
        BarProblemsError: the bars have faults; nothing is written.
    """
    bars = to_bars(table)
    columns = {name: getattr(bars, name) for name in COLUMNS}
    write_table(columns, SCHEMA, path)
    return CanonicalBars(len(bars), _moment(bars.timestamp[0]), _moment(bars.timestamp[-1]))


def load_bars(path: Path) -> Bars:
    """Read a canonical file, checked again: whoever wrote it may not have used ``write_canonical``.

    Raises:
        BarProblemsError: it is not canonical, or has faults.
    """
    try:
        table = read_table(path)
    except pa.ArrowException as error:
        raise BarProblemsError([BarProblem(None, "", f"not a Parquet file: {error}")]) from error
    if table.schema.names != SCHEMA.names or table.schema.types != SCHEMA.types:
        raise BarProblemsError([BarProblem(None, "", f"not canonical bars: {_words(table.schema)}")])
    if any(column.null_count for column in table.columns):
        raise BarProblemsError([BarProblem(None, "", "not canonical bars: values are missing")])
    values: dict[str, NDArray[Any]] = {name: _numbers(table[name], np.float64) for name in COLUMNS[1:]}
    values["timestamp"] = _numbers(table["timestamp"], np.int64)
    rows = np.arange(1, len(table) + 1, dtype=np.int64)
    problems = check_values(values, rows)
    if problems:
        raise BarProblemsError(problems)
    return Bars(**{name: np.ascontiguousarray(column) for name, column in values.items()})


def _numbers(column: Array, kind: type[np.float64 | np.int64]) -> NDArray[Any]:
    """Return a column without gaps as it lies in memory; Arrow's own way loads pandas where there is one."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * np.dtype(kind).itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, kind), *chunks])


def _convert(table: BarTable) -> tuple[Bars | None, list[BarProblem]]:
    problems = list(table.problems)
    values: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        if name not in table.columns:
            found = ", ".join(table.found) or "none"
            problems.append(BarProblem(table.header_row, name, f"the column is missing; there are: {found}"))
        elif name == "timestamp":
            values[name], faults = parse_timestamps(table.columns[name], table.rows)
            problems.extend(faults)
        else:
            values[name], faults = parse_numbers(name, table.columns[name], table.rows)
            problems.extend(faults)
    unusable = {(problem.row, problem.column) for problem in problems}
    problems.extend(check_values(values, table.rows, already=unusable, limit=None))
    problems.sort(key=lambda problem: problem.row or 0)
    if problems:
        return None, _capped(problems)
    return Bars(**values), []


def _capped(problems: list[BarProblem]) -> list[BarProblem]:
    if len(problems) <= PROBLEMS_MAX:
        return problems
    more = len(problems) - PROBLEMS_MAX
    words = f"and {more} more problems, {len(problems)} in all"
    return [*problems[:PROBLEMS_MAX], BarProblem(None, "", words)]


def _moment(nanoseconds: np.int64) -> datetime:
    return EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)


def _words(schema: Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
