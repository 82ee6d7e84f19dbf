"""What may be right but is worth a look: holes in time and prices that leap. Every doubt with its row.

Nights, weekends and holidays are no holes. What is usual is read off the bars themselves: a hole is longer
than one and a half times what comes about every eight weeks, or begins at a time of day at which bars hardly ever
stop. A leap is measured by how far prices usually move from bar to bar.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.bar_table import PRICES, BarProblem
from milepost_backtester.engine.bars import Bars, Floats, Integers

WEEK_NANOSECONDS = 7 * 86_400 * 10**9
DAY_NANOSECONDS = 86_400 * 10**9
RARE_WEEKS = 8.0
"""A break that comes less often than this is not usual."""
LONGER_FACTOR = 1.5
MISSING_BARS_MIN = 3
"""Within a session, fewer missing bars than this are taken for bars without a trade."""
STOPS_SHARE_MAX = 0.05
"""Bars that stop at a time of day on fewer days than this do not stop there as a rule."""
SPIKE_FACTOR, SPIKE_MIN = 12.0, 0.03
"""A price is a spike from so many times the median move on, and so far at least; the next close is back."""
BACK_SHARE = 0.25
JUMP_FACTOR, JUMP_MIN = 25.0, 0.25
"""The same for prices that stay where they went."""


def doubtful_bars(bars: Bars, rows: Integers) -> list[BarProblem]:
    """Return the doubts in the order of rows; the bars must be free of faults, ``rows`` are their numbers."""
    if len(bars) < 3:
        return []
    return sorted([*_gaps(bars.timestamp, rows), *_leaps(bars, rows)], key=lambda doubt: doubt.row or 0)


def _gaps(timestamp: Integers, rows: Integers) -> Iterator[BarProblem]:
    distances = np.diff(timestamp)
    step = int(np.median(distances))
    breaks = distances > LONGER_FACTOR * step
    longest_usual = _longest_usual(timestamp, distances)
    doubtful = distances > LONGER_FACTOR * longest_usual
    doubtful |= breaks & (distances > (MISSING_BARS_MIN + 0.5) * step) & _at_rare_times(timestamp, breaks)
    for place in np.flatnonzero(doubtful).tolist():
        missing = round(int(distances[place]) / step) - 1
        words = f"gap: {_time(timestamp[place])} is the bar before, room for {missing:,} more of them"
        yield BarProblem(int(rows[place + 1]), "timestamp", words)


def _longest_usual(timestamp: Integers, distances: Integers) -> int:
    weeks = float(timestamp[-1] - timestamp[0]) / WEEK_NANOSECONDS
    rank = min(int(weeks / RARE_WEEKS) + 1, len(distances) - 1)
    return int(np.partition(distances, len(distances) - 1 - rank)[len(distances) - 1 - rank])


def _at_rare_times(timestamp: Integers, breaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each bar but the last whether bars hardly ever stop at its time of day."""
    slots = np.unique(timestamp[:-1] % DAY_NANOSECONDS, return_inverse=True)[1]
    bars, stops = np.bincount(slots), np.bincount(slots, weights=breaks)
    return (stops / bars < STOPS_SHARE_MAX)[slots]


def _leaps(bars: Bars, rows: Integers) -> Iterator[BarProblem]:
    moves = np.abs(np.log(bars.close[1:] / bars.close[:-1]))
    if not moves.any():
        return
    usual = float(np.median(moves[moves > 0]))
    columns = {name: getattr(bars, name)[1:] for name in PRICES}
    before = bars.close[:-1]
    away = np.max([np.abs(np.log(column / before)) for column in columns.values()], axis=0)
    spike_from, jump_from = max(SPIKE_FACTOR * usual, SPIKE_MIN), max(JUMP_FACTOR * usual, JUMP_MIN)
    passed = -1
    for place in np.flatnonzero(away > spike_from).tolist():
        if place == passed:
            continue  # the way back
        name = max(columns, key=lambda name: abs(np.log(columns[name][place] / before[place])))
        if _is_back(bars.close, place, away):
            passed = place + 1
            words = _against(columns[name][place], before[place])
            yield BarProblem(int(rows[place + 1]), name, f"spike: {words}, and the next close is back")
        elif moves[place] > jump_from:
            words = _against(bars.close[place + 1], before[place])
            yield BarProblem(int(rows[place + 1]), "close", f"jump: {words}; a split, or another unit?")


def _is_back(close: Floats, place: int, away: Floats) -> bool:
    """Say whether the close after the bar that leapt is where prices were before it."""
    if place + 2 >= len(close):
        return False
    return bool(abs(np.log(close[place + 2] / close[place])) < BACK_SHARE * away[place])


def _against(price: float, before: float) -> str:
    return f"{float(price)!r} is {price / before:.3g} times the close before"


def _time(nanoseconds: int) -> str:
    text = str(np.datetime64(int(nanoseconds), "ns"))
    return text.removesuffix(".000000000").removesuffix("T00:00:00")
