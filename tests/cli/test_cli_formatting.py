"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest
from milepost_cli.demo_report import sparkline
from milepost_cli.formatting import (
    format_age,
    format_duration,
    format_progress,
    format_rate,
    format_size,
    format_summary,
    seconds_left,
)

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.2, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400 * 3 + 3600 * 4, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_has_at_most_two_parts(seconds: float | None, words: str) -> None:
    """Seconds, minutes, hours and days, the two that matter."""
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (999_999, "1.0 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_has_two_or_three_digits(size: int, words: str) -> None:
    """Powers of 1,000, never '1000 kB'."""
    assert format_size(size) == words


def test_progress_says_what_is_known() -> None:
    """Units of total and percent; less when the total is not known yet."""
    assert format_progress(5000, 10_000, "bar") == "5,000 of 10,000 bars (50 %)"
    assert format_progress(1, 1, "epoch") == "1 of 1 epoch (100 %)"
    assert format_progress(0, None, None) == "-"
    assert format_progress(3, None, "step") == "3 steps"
    assert format_progress(9_999, 10_000, "bar").endswith("(99 %)"), "100 % is said only when all is done"


def test_rates_and_time_left_are_unknown_rather_than_wrong() -> None:
    """No rate, no time left; neither is ever negative."""
    assert format_rate(1234.4, "bar") == "1,234 bars/s"
    assert format_rate(0.25, "epoch") == "0.25 epochs/s"
    assert format_rate(None, "bar") == format_rate(0, "bar") == "-"
    assert seconds_left(50, 100, 10) == 5
    assert seconds_left(150, 100, 10) == 0
    assert seconds_left(50, 100, None) is None
    assert seconds_left(50, None, 10) is None


def test_an_age_is_told_in_the_past() -> None:
    """Ages are relative, and a clock that is a little behind does not make them negative."""
    assert format_age(NOW - timedelta(seconds=12), NOW) == "12 s ago"
    assert format_age(NOW + timedelta(seconds=2), NOW) == "just now"
    assert format_age(None, NOW) == "-"


def test_a_summary_is_one_line() -> None:
    """Numbers are grouped and long values cut."""
    assert (
        format_summary({"cash": 1234.567, "trades": 1200, "ok": True})
        == "cash 1,234.57, trades 1,200, ok yes"
    )
    assert len(format_summary({"words": "x" * 500})) < 80
    assert format_summary({"test": {"loss": 0.5, "samples": 7}}) == "test.loss 0.5, test.samples 7"


def test_a_sparkline_shows_rise_fall_and_a_flat_line() -> None:
    """The lowest block at the low, the highest at the high; a constant curve does not divide by zero."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0] * 100, 10) == "▁" * 10
    assert len(sparkline([float(n) for n in range(3270)], 60)) == 60
    assert sparkline([], 60) == ""
