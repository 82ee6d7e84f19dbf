"""Read CSV and Parquet into a ``BarTable``: what stands there, with its row, and nothing interpreted yet."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.bar_table import BarProblem, BarProblemsError, BarTable, match_columns
from milepost_backtester.parquet import Array, pa, read_table

if TYPE_CHECKING:
    from _csv import Reader


def read_csv(path: Path) -> BarTable:
    """Read ``.csv`` or ``.csv.gz``, UTF-8, with a header in line 1 and commas; empty lines are passed over.

    Raises:
        BarProblemsError: it is no text, or empty.
    """
    try:
        return _read_lines(csv.reader(_text(path), strict=True))
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BarProblemsError(
            [BarProblem(None, "", f"{path.name} cannot be read as CSV: {error}")]
        ) from error


def read_parquet(path: Path) -> BarTable:
    """Read ``.parquet``.

    Raises:
        BarProblemsError: it is no Parquet file.
    """
    try:
        table = read_table(path)
    except pa.ArrowException as error:
        raise BarProblemsError([BarProblem(None, "", f"{path.name} is no Parquet file: {error}")]) from error
    found = tuple(table.schema.names)
    places, problems = match_columns(found, None)
    return BarTable(
        columns={name: _plain(table.column(place)) for name, place in places.items()},
        rows=np.arange(1, table.num_rows + 1, dtype=np.int64),
        found=found,
        header_row=None,
        problems=tuple(problems),
    )


def _text(path: Path) -> io.TextIOWrapper:
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.decompress(content)
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")


def _read_lines(lines: "Reader") -> BarTable:
    header = next(lines, None)
    if header is None:
        raise BarProblemsError([BarProblem(None, "", "the file is empty")])
    places, problems = match_columns(header, 1)
    rows: list[int] = []
    kept: list[list[str]] = []
    for line in _filled(lines):
        row = lines.line_num
        if len(line) != len(header):
            problems.append(BarProblem(row, "", f"{len(line)} values, the header has {len(header)}"))
            continue
        rows.append(row)
        kept.append(line)
    columns: list[tuple[str, ...]] = list(zip(*kept, strict=True)) if kept else [()] * len(header)
    return BarTable(
        columns={name: columns[place] for name, place in places.items()},
        rows=np.array(rows, dtype=np.int64),
        found=tuple(header),
        header_row=1,
        problems=tuple(problems),
    )


def _filled(lines: "Reader") -> Iterator[list[str]]:
    return (line for line in lines if line)


def _plain(column: Array) -> "NDArray[Any] | list[Any]":
    """Numbers and timestamps as arrays, anything else as Python values."""
    kind = column.type
    if column.null_count == 0 and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return column.to_numpy()
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s"))
        kind = column.type
    if pa.types.is_timestamp(kind):
        # Naive times are taken as UTC; times with a zone are held as UTC already. A missing one becomes NaT.
        return column.cast(pa.timestamp(kind.unit)).to_numpy()
    return column.to_pylist()
