"""Numbers, sizes, durations and times as people read them; filters of the templates."""

from datetime import UTC, datetime

from milepost_orchestrator.entrypoints.dashboard.sparkline_path import sparkline_path

NONE = "\u2013"
"""What is shown where there is no value."""
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
ID_CHARACTERS = 11
"""Of an id: enough to tell any two on a page apart, and accepted by every command."""


def whole(value: int | float | None) -> str:
    """Return a number in groups of three digits: ``12 345``."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\u202f")


def rate(value: float | None, unit: str | None = None) -> str:
    """Return units a second, three digits of it: ``1 240 bars/s``."""
    if value is None or value <= 0:
        return NONE
    words = f"{unit}s/s" if unit else "/s"
    if value >= 100:
        return f"{whole(value)}\u00a0{words}"
    digits = 1 if value >= 10 else 2
    return f"{value:.{digits}f}\u00a0{words}"


def figure(value: object) -> str:
    """Return a number with five significant digits; anything else as it is."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return whole(value)
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.4e}"
    if abs(value) >= 10_000:
        return whole(value)
    return f"{value:.5g}"


def share(unit: int, total: int | None) -> float | None:
    """Return how much is done in percent, rounded down so that 100 means all."""
    if not total:
        return None
    return min(int(unit * 1000 / total) / 10, 100.0)


def size(value: int | None) -> str:
    """Return bytes in the unit that fits: ``1.5 MiB``."""
    if value is None:
        return NONE
    amount, position = float(value), 0
    while amount >= 1024 and position < len(_SIZES) - 1:
        amount, position = amount / 1024, position + 1
    return f"{amount:.0f}\u00a0B" if position == 0 else f"{amount:.1f}\u00a0{_SIZES[position]}"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest parts: ``3m 20s``."""
    if seconds is None:
        return NONE
    left = max(int(seconds), 0)
    numbers: list[str] = []
    for length, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        number, left = divmod(left, length)
        if number or numbers or letter == "s":
            numbers.append(f"{number}{letter}")
    return "\u00a0".join(numbers[:2])


def absolute(value: str | datetime | None) -> str:
    """Return a time in UTC; the script shows it in the reader's zone, or as an age."""
    if value is None:
        return NONE
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def instant(value: str | datetime) -> str:
    """Return a time as the page's script reads it."""
    return value if isinstance(value, str) else value.isoformat()


def seconds_between(begin: str | None, end: str | None) -> float | None:
    """Return the seconds from one time to another; None while one of them is missing."""
    if begin is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def short_id(value: str | None) -> str:
    """Return the beginning of an id."""
    return NONE if value is None else value[:ID_CHARACTERS]


FILTERS = {
    "whole": whole,
    "rate": rate,
    "figure": figure,
    "size": size,
    "duration": duration,
    "absolute": absolute,
    "instant": instant,
    "short_id": short_id,
    "sparkline_path": sparkline_path,
}
