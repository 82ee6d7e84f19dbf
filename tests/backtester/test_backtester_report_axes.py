"""What stands at the axes, and which points of a long curve are drawn."""

import numpy as np
import pytest
from milepost_backtester.engine.bars import Integers
from milepost_backtester.report.axes import Scale, scale_of, time_ticks, value_ticks
from milepost_backtester.report.decimation import evenly, extremes
from milepost_backtester.report.numbers import axis_label, decimal, duration, money

pytestmark = pytest.mark.unit


def moments(first: str, last: str, step: str) -> Integers:
    number, unit = int(step[:-1]), step[-1]
    return np.arange(first, last, np.timedelta64(number, unit), dtype="datetime64[ns]").astype(np.int64)


def test_a_long_curve_keeps_its_peaks() -> None:
    """Each part's lowest and highest point stay, with both ends, and a spike of one bar is not lost."""
    values = np.sin(np.arange(100_000) / 5_000)
    values[70_123] = 9.0
    values[12_345] = -9.0
    places = extremes(values, 300)
    assert len(places) <= 602
    assert {0, 12_345, 70_123, 99_999} <= set(places.tolist())
    assert np.all(np.diff(places) > 0)


@pytest.mark.parametrize("count", [1, 2, 599, 600])
def test_a_short_curve_keeps_all(count: int) -> None:
    """Nothing is left out of what fits."""
    assert extremes(np.arange(float(count)), 300).tolist() == list(range(count))


@pytest.mark.parametrize(("count", "columns"), [(1, 5), (5, 5), (1_000, 7)])
def test_even_places_have_both_ends(count: int, columns: int) -> None:
    """Places under the cursor begin with the first bar and end with the last."""
    places = evenly(count, columns)
    assert (places[0], places[-1], len(places)) == (0, count - 1, min(count, columns))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (-3.0, 12.0, [0.0, 5.0, 10.0]),
        (99_990.0, 100_010.0, [99_990.0, 99_995.0, 100_000.0, 100_005.0, 100_010.0]),
        (0.1, 0.4, [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_ticks_of_values_are_round(low: float, high: float, expected: list[float]) -> None:
    """Lines are at whole multiples of a round step."""
    assert value_ticks(Scale(low, high), 4) == expected


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-9, 1e12])
def test_a_flat_curve_has_a_scale(value: float) -> None:
    """A curve that never moves is drawn in the middle of its panel."""
    scale = scale_of(value, value)
    assert scale.share(value) == pytest.approx(0.5)
    assert value_ticks(scale, 5)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (moments("2001-03-01", "2008-02-01", "1D"), ["2002", "2003", "2004", "2005", "2006", "2007", "2008"]),
        (
            moments("1955-06-01", "2020-06-01", "30D"),
            ["1960", "1970", "1980", "1990", "2000", "2010", "2020"],
        ),
        (moments("2023-10-20", "2024-03-05", "1D"), ["Nov 2023", "Dec 2023", "2024", "Feb 2024", "Mar 2024"]),
        (moments("2024-01-01", "2024-01-06", "1h"), ["2 Jan", "3 Jan", "4 Jan", "5 Jan"]),
        (moments("2024-01-01T22", "2024-01-02T03", "5m"), ["23:00", "2 Jan", "01:00", "02:00"]),
    ],
)
def test_ticks_of_time_are_round(timestamp: Integers, expected: list[str]) -> None:
    """Lines are where a round unit of time begins, at most nine or ten of them."""
    assert [tick.label for tick in time_ticks(timestamp)] == expected


def test_ticks_of_time_do_not_crowd() -> None:
    """Where a gap puts two units side by side, the second is left out."""
    crowded = np.concatenate(
        (moments("2024-01-30", "2024-02-02", "1D"), moments("2024-03-31", "2024-06-20", "1D"))
    )
    assert [tick.label for tick in time_ticks(crowded, spacing=10)] == ["Feb 2024", "May 2024", "Jun 2024"]


def test_numbers_for_people() -> None:
    """A real minus, thousands apart, no minus before nothing, more digits for little money."""
    assert decimal(-1234.5) == "\N{MINUS SIGN}1,234.50"
    assert decimal(-0.001) == "0.00"
    assert money(0.000123) == "0.000123"
    assert axis_label(10_050_000.0) == "10.05\N{NARROW NO-BREAK SPACE}M"
    assert axis_label(-250_000.0) == "\N{MINUS SIGN}250\N{NARROW NO-BREAK SPACE}k"
    assert [duration(seconds) for seconds in (30, 90, 5400, 86_400 * 40, 86_400 * 800)] == [
        "30 seconds",
        "1.5 minutes",
        "1.5 hours",
        "40.0 days",
        "2.2 years",
    ]
