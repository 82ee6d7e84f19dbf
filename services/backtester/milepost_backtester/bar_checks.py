"""What must hold between the values of bars; every fault with its row."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.bar_parsing import NO_TIME
from milepost_backtester.bar_table import PRICES, BarProblem
from milepost_backtester.engine.bars import Integers

PROBLEMS_MAX = 50
"""More are counted, not listed."""
ROWS_MIN = 2

Values = Mapping[str, NDArray[Any]]


def check_values(
    values: Values,
    rows: Integers,
    *,
    already: Collection[tuple[int | None, str]] = (),
    limit: int | None = PROBLEMS_MAX,
) -> list[BarProblem]:
    """Return the faults of columns of equal length, at most ``limit``; columns may be absent.

    ``already`` are rows and columns whose value could not be read and was named before.
    """
    problems: list[BarProblem] = []
    if len(rows) < ROWS_MIN:
        problems.append(BarProblem(None, "", f"{len(rows)} bars; there must be at least {ROWS_MIN}"))
    for fault in _faults(values, rows):
        if (fault.row, fault.column) in already:
            continue
        if limit is not None and len(problems) >= limit:
            break
        problems.append(fault)
    return problems


def _faults(values: Values, rows: Integers) -> Iterator[BarProblem]:
    if "timestamp" in values:
        yield from _order(values["timestamp"], rows)
    for name in (*PRICES, "volume"):
        if name in values:
            yield from _finite(name, values[name], rows)
    with np.errstate(invalid="ignore"):
        for name in PRICES:
            if name in values:
                yield from _positive(name, values[name], rows)
        if "volume" in values:
            for place in np.flatnonzero(values["volume"] < 0):
                yield BarProblem(int(rows[place]), "volume", f"{_show(values['volume'][place])} is negative")
        if "high" in values and "low" in values:
            yield from _range(values, rows)


def _order(times: Integers, rows: Integers) -> Iterator[BarProblem]:
    """Duplicates name the first row of that time, rows out of order the latest time before them."""
    known = np.flatnonzero(times != NO_TIME)
    if len(known) == 0:
        return
    kept, kept_rows = times[known], rows[known]
    if np.all(kept[1:] > kept[:-1]):
        return
    _, first_place, group = np.unique(kept, return_index=True, return_inverse=True)
    latest = np.maximum.accumulate(kept)
    for place in range(1, len(kept)):
        row, first = int(kept_rows[place]), int(first_place[group[place]])
        if first != place:
            yield BarProblem(
                row, "timestamp", f"{_time(kept[place])} stands in row {kept_rows[first]} already"
            )
        elif kept[place] < latest[place - 1]:
            yield BarProblem(row, "timestamp", f"{_time(kept[place])} comes after {_time(latest[place - 1])}")


def _finite(name: str, column: NDArray[Any], rows: Integers) -> Iterator[BarProblem]:
    for place in np.flatnonzero(~np.isfinite(column)):
        words = "the value is NaN" if np.isnan(column[place]) else "the value is infinite"
        yield BarProblem(int(rows[place]), name, words)


def _positive(name: str, column: NDArray[Any], rows: Integers) -> Iterator[BarProblem]:
    for place in np.flatnonzero(column <= 0):
        if np.isfinite(column[place]):
            yield BarProblem(int(rows[place]), name, f"{_show(column[place])} is not positive")


def _range(values: Values, rows: Integers) -> Iterator[BarProblem]:
    high, low = values["high"], values["low"]
    crossed = high < low
    for place in np.flatnonzero(crossed):
        words = f"{_show(high[place])} is below the low {_show(low[place])}"
        yield BarProblem(int(rows[place]), "high", words)
    for name in ("open", "close"):
        if name not in values:
            continue
        column = values[name]
        for place in np.flatnonzero(~crossed & ((column > high) | (column < low))):
            words = (
                f"{_show(column[place])} is outside low to high, {_show(low[place])} to {_show(high[place])}"
            )
            yield BarProblem(int(rows[place]), name, words)


def _show(value: float) -> str:
    return repr(float(value))


def _time(nanoseconds: np.int64) -> str:
    text = str(np.datetime64(int(nanoseconds), "ns"))
    return text.removesuffix(".000000000").removesuffix("T00:00:00")
