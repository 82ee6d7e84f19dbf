"""Canonical files of bars, read and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

# pyarrow has no types; Any says so once, instead of an exemption at every use.
pa: Any = pyarrow
pq: Any = pyarrow.parquet
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one symbol, oldest first."""

    timestamp: NDArray[np.int64]
    """Nanoseconds since 1970, UTC."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.timestamp)


def load_bars(path: Path) -> Bars:
    """Read a canonical file of bars.

    Raises:
        ValueError: it is no canonical file, or its bars cannot be used; every fault is named.
    """
    try:
        table: Any = pq.read_table(path, partitioning=None)
    except pa.ArrowException as error:
        raise ValueError(f"the bars are not a Parquet file: {error}") from error
    types = [pa.timestamp("ns", tz="UTC")] + [pa.float64()] * 5
    if tuple(table.schema.names) != COLUMNS or table.schema.types != types:
        words = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise ValueError(f"the bars are not canonical: {words}")
    if any(column.null_count for column in table.columns):
        raise ValueError("the bars are not canonical: values are missing")
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in COLUMNS}
    columns["timestamp"] = columns["timestamp"].astype("datetime64[ns]").astype(np.int64)
    bars = Bars(**{name: np.ascontiguousarray(column) for name, column in columns.items()})
    problems = _problems(bars)
    if problems:
        raise ValueError("the bars cannot be used: " + "; ".join(problems))
    return bars


def _problems(bars: Bars) -> list[str]:
    problems: list[str] = []
    if not len(bars):
        problems.append("there are none")
    if (np.diff(bars.timestamp) <= 0).any():
        problems.append("the timestamps do not ascend")
    for name in COLUMNS[1:5]:
        values: Floats = getattr(bars, name)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(wrong):
            problems.append(f"{name} is not positive in bar {int(wrong[0]) + 1} ({len(wrong)} in all)")
    if not (np.isfinite(bars.volume) & (bars.volume >= 0)).all():
        problems.append("a volume is negative or not finite")
    return problems
