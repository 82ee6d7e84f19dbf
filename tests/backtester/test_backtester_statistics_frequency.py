"""How many bars a year has, for the calendars that bars come in."""

import numpy as np
import pytest
from milepost_backtester.engine.bars import Integers
from milepost_backtester.statistics.figures import Undefined
from milepost_backtester.statistics.frequency import bars_per_year

pytestmark = pytest.mark.unit


def times(first: str, last: str, step: str) -> Integers:
    number, unit = int(step[:-1]), step[-1]
    return np.arange(first, last, np.timedelta64(number, unit), dtype="datetime64[ns]").astype(np.int64)


def on(timestamp: Integers, days: str, hours: tuple[float, float] = (0, 24)) -> Integers:
    """Keep the weekdays (as ``busday`` masks) and the hours of a session."""
    moments = timestamp.astype("datetime64[ns]")
    mask = np.array([character == "1" for character in days])
    weekday = (moments.astype("datetime64[D]").astype(np.int64) + 3) % 7
    hour = (timestamp % (86_400 * 10**9)) / 3600e9
    return timestamp[mask[weekday] & (hour >= hours[0]) & (hour < hours[1])]


SHARES = "1111100"
CASES = {
    "daily shares, eight years": (on(times("2005-01-03", "2013-01-01", "1D"), SHARES), 261, 1),
    "daily shares, three months": (on(times("2024-01-02", "2024-04-01", "1D"), SHARES), 252, 0),
    "daily coins, a month": (times("2024-01-01", "2024-02-01", "1D"), 365.25, 0),
    "hourly coins, a week": (times("2024-01-01", "2024-01-08", "1h"), 24 * 365.25, 0),
    "hourly coins, two years": (times("2022-01-01", "2024-01-01", "1h"), 24 * 365.25, 1),
    "minutes of shares, a week": (
        on(times("2024-01-08", "2024-01-13", "1m"), SHARES, (14.5, 21)),
        390 * 252,
        0,
    ),
    "minutes of shares, one day": (
        on(times("2024-01-08", "2024-01-09", "1m"), SHARES, (14.5, 21)),
        390 * 252,
        0,
    ),
    "minutes of coins over one midnight": (
        times("2024-01-06T12", "2024-01-07T12", "1m"),
        1440 * 365.25,
        0,
    ),
    "hours of a currency, Sunday evening on, three weeks": (
        on(times("2024-01-08", "2024-01-29", "1h"), SHARES)[:0].tolist()
        + on(times("2024-01-07T22", "2024-01-12T22", "1h"), "1111101").tolist()
        + on(times("2024-01-14T22", "2024-01-19T22", "1h"), "1111101").tolist(),
        24 * 365.25 * 5 / 7,
        0,
    ),
    "weekly, half a year": (times("2024-01-01", "2024-07-01", "7D"), 365.25 / 7, 0),
    "monthly, half a year": (
        np.array([f"2024-0{month}-01" for month in range(1, 8)], dtype="datetime64[ns]").astype(np.int64),
        12,
        0.3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bars_of_a_year(name: str) -> None:
    """The number of bars a year is that of the calendar, also where the data covers a few days of it."""
    timestamp, expected, tolerance = CASES[name]
    assert bars_per_year(np.array(timestamp, dtype=np.int64)) == pytest.approx(
        expected, abs=tolerance or expected * 1e-9
    )


def test_one_bar_has_no_frequency() -> None:
    """A single bar says nothing about the next."""
    assert isinstance(bars_per_year(np.zeros(1, dtype=np.int64)), Undefined)
