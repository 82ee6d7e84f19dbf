"""How many bars a year has, from the bars' own times.

Over a year or more the bars are simply counted: that is the market's real calendar, holidays and gaps included.
Less than a year says little when it is counted (Monday to Friday are five sessions in four days of time), so the
rhythm is read off: bars of a trading day, and which days are traded.
"""

import numpy as np

from milepost_backtester.engine.bars import Integers
from milepost_backtester.statistics.figures import YEAR_SECONDS, Undefined

DAY_NANOSECONDS = 24 * 3600 * 10**9
YEAR_DAYS = 365.25
SESSION_DAYS = 252.0
"""Trading days a year where weekends and holidays are closed: the usual number for shares."""
WEEK_DAYS = YEAR_DAYS * 5 / 7
"""Days a year where only the weekend is closed: currencies."""

_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday
_SATURDAY, _SUNDAY = 5, 6


def years_of(timestamp: Integers) -> float:
    """Return the years of 365.25 days from the first bar to the last."""
    return float(timestamp[-1] - timestamp[0]) / 1e9 / YEAR_SECONDS


def bars_per_year(timestamp: Integers) -> float | Undefined:
    """Return how many bars a year of this data has; times are strictly increasing nanoseconds (UTC)."""
    if len(timestamp) < 2:
        return Undefined("one bar has no frequency")
    years = years_of(timestamp)
    if years >= 1:
        return (len(timestamp) - 1) / years
    step_nanoseconds = int(np.median(np.diff(timestamp)))
    if step_nanoseconds > DAY_NANOSECONDS:
        return YEAR_DAYS * DAY_NANOSECONDS / step_nanoseconds
    return _bars_per_day(timestamp, step_nanoseconds) * _days_per_year(timestamp)


def _bars_per_day(timestamp: Integers, step_nanoseconds: int) -> float:
    """Bars of a typical day; the first and the last may be cut off and count only when there are no others."""
    if step_nanoseconds == DAY_NANOSECONDS:
        return 1.0
    counts = np.unique(timestamp // DAY_NANOSECONDS, return_counts=True)[1]
    if len(counts) > 2:
        return float(np.median(counts[1:-1]))
    # A day or two: the longest is a whole session, or the data runs around the clock and is cut by its ends only.
    around_the_clock = DAY_NANOSECONDS / step_nanoseconds
    if np.all(np.diff(timestamp) == step_nanoseconds) and len(counts) == 2:
        return around_the_clock
    return min(float(np.max(counts)), around_the_clock)


def _days_per_year(timestamp: Integers) -> float:
    weekdays = (timestamp // DAY_NANOSECONDS + _MONDAY_OFFSET) % 7
    if np.any(weekdays == _SATURDAY):
        return YEAR_DAYS
    if np.any(weekdays == _SUNDAY):
        return WEEK_DAYS
    return SESSION_DAYS
