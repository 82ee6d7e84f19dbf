"""Numbers and times as people read them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import cast

_PLURALS = {"bar": "bars", "epoch": "epochs", "step": "steps", "unit": "units"}
DIGEST_SHOWN = len("sha256:") + 16
_SIZES = ("B", "kB", "MB", "GB", "TB")


def format_count(count: int, noun: str) -> str:
    """Return ``1 bar``, ``5,000 bars``."""
    word = noun if count == 1 else _PLURALS.get(noun, f"{noun}s")
    return f"{count:,} {word}"


def format_progress(unit: int | None, total_units: int | None, unit_name: str | None) -> str:
    """Return ``5,000 of 10,000 bars (50 %)``, with less when less is known."""
    noun = unit_name or "unit"
    if not total_units:
        return format_count(unit, noun) if unit else "-"
    done = unit or 0
    return f"{done:,} of {format_count(total_units, noun)} ({done * 100 // total_units} %)"


def format_rate(units_per_second: float | None, unit_name: str | None) -> str:
    """Return ``1,234 bars/s`` or ``0.25 epochs/s``; ``-`` when unknown."""
    if units_per_second is None or units_per_second <= 0:
        return "-"
    noun = _PLURALS.get(unit_name or "unit", f"{unit_name}s")
    digits = 0 if units_per_second >= 10 else 1 if units_per_second >= 1 else 2
    return f"{units_per_second:,.{digits}f} {noun}/s"


def format_duration(seconds: float | None) -> str:
    """Return ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``; ``-`` when unknown."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s" if whole or seconds <= 0 else "1 s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def format_age(then: datetime | None, now: datetime) -> str:
    """Return ``12 s ago``; ``just now`` within a second; ``-`` when unknown."""
    if then is None:
        return "-"
    seconds = (now - then).total_seconds()
    return "just now" if seconds < 1 else f"{format_duration(seconds)} ago"


def format_size(size_bytes: int) -> str:
    """Return ``512 B``, ``1.2 MB`` (powers of 1,000)."""
    value = float(size_bytes)
    for suffix in _SIZES:
        if value < 999.5 or suffix == _SIZES[-1]:
            return f"{value:.0f} {suffix}" if suffix == "B" or value >= 99.95 else f"{value:.1f} {suffix}"
        value /= 1000
    raise AssertionError("the last suffix always fits")


def seconds_left(unit: int | None, total_units: int | None, units_per_second: float | None) -> float | None:
    """Return how long the rest takes at this rate, None when that cannot be said."""
    if unit is None or not total_units or not units_per_second or units_per_second <= 0:
        return None
    return max(0, total_units - unit) / units_per_second


def format_summary(summary: Mapping[str, object], *, items_max: int | None = None) -> str:
    """Return a small JSON object as ``cash 1,234.56, trades 12``; long values are cut, many items too."""
    words = [f"{key} {format_value(value)}" for key, value in flat_items(summary)]
    shown = words[:items_max]
    return ", ".join([*shown, "..."] if len(shown) < len(words) else shown)


def flat_items(summary: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a JSON object, those of inner objects under dotted names."""
    for key, value in summary.items():
        if isinstance(value, Mapping):
            yield from flat_items(cast("Mapping[str, object]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def format_digest(digest: str) -> str:
    """Return enough of a digest to compare by eye; JSON output has all of it."""
    return digest if len(digest) <= DIGEST_SHOWN else f"{digest[:DIGEST_SHOWN]}..."


def format_value(value: object) -> str:
    """Return a JSON value as a person reads it; long ones are cut."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
