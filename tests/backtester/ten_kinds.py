"""Ten kinds of bad data, each put into one row of good bars; the comparison with the peers uses them too."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

Row: TypeAlias = tuple[str, float, float, float, float, float]
"""Day, open, high, low, close, volume."""

BARS = 400
PLACE = 200
"""The bar that is spoilt."""


def good_bars() -> list[Row]:
    """Return daily bars, Monday to Friday, of a random walk in cents."""
    draw = np.random.default_rng(11)
    closes = np.round(100 * np.exp(np.cumsum(draw.normal(0, 0.01, BARS))), 2)
    opens = np.concatenate(([100.0], closes[:-1]))
    highs, lows = np.round(np.maximum(opens, closes) + 0.3, 2), np.round(np.minimum(opens, closes) - 0.3, 2)
    days = np.busday_offset("2020-01-06", np.arange(BARS)).astype(str)
    columns = (opens.tolist(), highs.tolist(), lows.tolist(), closes.tolist(), [1000.0] * BARS)
    return list(zip(days.tolist(), *columns, strict=True))


def _with(place: int, **values: float) -> Callable[[list[Row]], list[Row]]:
    names = ("day", "open", "high", "low", "close", "volume")

    def spoil(rows: list[Row]) -> list[Row]:
        spoilt = list(rows[place])
        for name, value in values.items():
            spoilt[names.index(name)] = value
        return [*rows[:place], tuple(spoilt), *rows[place + 1 :]]  # type: ignore[list-item]

    return spoil


def _spike(rows: list[Row]) -> list[Row]:
    day, *prices, volume = rows[PLACE]
    return [*rows[:PLACE], (day, *(round(price * 10, 2) for price in prices), volume), *rows[PLACE + 1 :]]  # type: ignore[list-item]


NAN, INFINITE = float("nan"), float("inf")
KINDS: Mapping[str, Callable[[list[Row]], list[Row]]] = {
    "NaN close": _with(PLACE, close=NAN),
    "NaN row": _with(PLACE, open=NAN, high=NAN, low=NAN, close=NAN, volume=NAN),
    "NaN open": _with(PLACE, open=NAN),
    "duplicate": lambda rows: [*rows[: PLACE + 1], rows[PLACE], *rows[PLACE + 1 :]],
    "unsorted": lambda rows: [*rows[:PLACE], rows[PLACE + 1], rows[PLACE], *rows[PLACE + 2 :]],
    "high below low": lambda rows: _with(PLACE, high=rows[PLACE][3], low=rows[PLACE][2])(rows),
    "negative": _with(PLACE, open=-50.0, high=-40.0, low=-60.0, close=-50.0),
    "infinite": _with(PLACE, high=INFINITE, close=INFINITE),
    "gap": lambda rows: [*rows[:PLACE], *rows[PLACE + 30 :]],
    "spike": _spike,
}
REFUSED = tuple(KINDS)[:8]
"""What can only be wrong; the others are doubts."""
EXPECTED: Mapping[str, str] = {
    "NaN close": "row 202, close: the value is NaN",
    "NaN row": "row 202, open: the value is NaN",
    "NaN open": "row 202, open: the value is NaN",
    "duplicate": "row 203, timestamp: 2020-10-12 stands in row 202 already",
    "unsorted": "row 203, timestamp: 2020-10-12 comes after 2020-10-13",
    "high below low": "row 202, high: 103.03 is below the low 104.19",
    "negative": "row 202, open: -50.0 is not positive",
    "infinite": "row 202, high: the value is infinite",
    "gap": "row 202, timestamp: gap: 2020-10-09 is the bar before, room for 44 more of them",
    "spike": "row 202, high: spike",
}
"""What Milepost says first."""


def as_csv(rows: list[Row]) -> str:
    """Return a file's content; the header is row 1."""
    lines = [",".join(map(str, row)) for row in rows]
    return "\n".join(["timestamp,open,high,low,close,volume", *lines]) + "\n"
