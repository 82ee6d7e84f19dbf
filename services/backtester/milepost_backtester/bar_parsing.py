"""From what stands in a file to numbers; what cannot be read is named, with its row."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.bar_table import BarProblem
from milepost_backtester.engine.bars import Floats, Integers

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands for a time that could not be read (numpy's NaT)."""
YEAR_MIN, YEAR_MAX = 1700, 2261
"""What 64 bits of nanoseconds around 1970 can hold, with room for time zones."""

_DAY = r"(?P<year>\d{4})-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?"
_ZONE = r"(?P<zone>Z|[+-]\d{2}:?\d{2})"


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a time."""

    words: str
    pattern: re.Pattern[str]
    nanoseconds: Callable[[str], int]


def _iso(text: str) -> int:
    plain = text.replace("/", "-").replace(",", ".").replace(" ", "T")
    return int(np.datetime64(plain, "ns").astype(np.int64))


def _zoned(text: str) -> int:
    match = re.fullmatch(rf"(.*?) ?{_ZONE}", text)
    if match is None:
        raise ValueError(text)
    zone = match["zone"].replace(":", "")
    minutes = 0 if zone == "Z" else int(zone[:3]) * 60 + int(zone[0] + zone[3:])
    return _iso(match[1]) - minutes * 60 * 10**9


def _compact(text: str) -> int:
    return _iso(f"{text[:4]}-{text[4:6]}-{text[6:8]}")


def _since_epoch(unit_nanoseconds: int) -> Callable[[str], int]:
    return lambda text: int(text) * unit_nanoseconds


FORMS = (
    _Form("2024-03-01", re.compile(_DAY), _iso),
    _Form("2024/03/01", re.compile(_DAY.replace("-", "/")), _iso),
    _Form("20240301", re.compile(r"(?P<year>\d{4})\d{4}"), _compact),
    _Form("2024-03-01 09:30:00", re.compile(rf"{_DAY} {_TIME}"), _iso),
    _Form("2024-03-01T09:30:00", re.compile(rf"{_DAY}T{_TIME}"), _iso),
    _Form("2024/03/01 09:30:00", re.compile(rf"{_DAY.replace('-', '/')} {_TIME}"), _iso),
    _Form("2024-03-01 09:30:00+00:00", re.compile(rf"{_DAY} {_TIME} ?{_ZONE}"), _zoned),
    _Form("2024-03-01T09:30:00Z", re.compile(rf"{_DAY}T{_TIME}{_ZONE}"), _zoned),
    _Form("seconds since 1970", re.compile(r"\d{9,10}"), _since_epoch(10**9)),
    _Form("milliseconds since 1970", re.compile(r"\d{12,13}"), _since_epoch(10**6)),
    _Form("microseconds since 1970", re.compile(r"\d{15,16}"), _since_epoch(10**3)),
    _Form("nanoseconds since 1970", re.compile(r"\d{18,19}"), _since_epoch(1)),
)
"""Every form is unambiguous; day-first and month-first dates are refused because nobody can tell them apart."""


def parse_timestamps(
    values: Sequence[Any] | NDArray[Any], rows: Integers
) -> tuple[Integers, list[BarProblem]]:
    """Return nanoseconds since 1970 UTC, ``NO_TIME`` where there is none, and what is wrong.

    All rows must be written in the form of the first one. Times without a zone are taken as UTC.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return _from_datetimes(values, rows)
    texts = [("" if value is None else str(value).strip()) for value in values]
    result = np.full(len(texts), NO_TIME, dtype=np.int64)
    problems: list[BarProblem] = []
    form: _Form | None = None
    first_row = 0
    for place, text in enumerate(texts):
        row = int(rows[place])
        if form is None:
            form, first_row = _form_of(text), row
        problem = _parse_into(result, place, text, form)
        if problem is not None:
            other = _form_of(text)
            if form is not None and other is not None and other is not form:
                problem = f"{text!r} is written in another form than row {first_row} ({form.words})"
            problems.append(BarProblem(row, "timestamp", problem))
    return result, problems


def parse_numbers(
    name: str, values: Sequence[Any] | NDArray[Any], rows: Integers
) -> tuple[Floats, list[BarProblem]]:
    """Return float64 values, NaN where there is none, and what is wrong."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        result = values.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(result))
        return result, [BarProblem(int(rows[place]), name, _not_finite(result[place])) for place in bad]
    result = np.empty(len(values), dtype=np.float64)
    problems: list[BarProblem] = []
    for place, value in enumerate(values):
        number, fault = _number(value)
        result[place] = number
        if fault is not None:
            problems.append(BarProblem(int(rows[place]), name, fault))
    return result, problems


def _number(value: object) -> tuple[float, str | None]:
    text = "" if value is None else str(value).strip()
    if not text:
        return np.nan, "the value is missing"
    try:
        number = float(text)
    except ValueError:
        return np.nan, f"{text!r} is not a number"
    if "_" in text:
        return np.nan, f"{text!r} is not a number"
    if number - number != 0:
        return number, _not_finite(number)
    return number, None


def _not_finite(number: float) -> str:
    return "the value is NaN" if number != number else "the value is infinite"


def _form_of(text: str) -> _Form | None:
    return next((form for form in FORMS if form.pattern.fullmatch(text)), None)


def _parse_into(result: Integers, place: int, text: str, form: _Form | None) -> str | None:
    """Put the time of ``text`` into its place; return what is wrong with it."""
    if not text:
        return "the time is missing"
    match = form.pattern.fullmatch(text) if form is not None else None
    if form is None or match is None:
        return f"{text!r} is not a time; write it as 2024-03-01 or 2024-03-01T09:30:00Z"
    year = match.groupdict().get("year")
    if year is not None and not YEAR_MIN <= int(year) <= YEAR_MAX:
        return f"{text!r} is outside the years {YEAR_MIN} to {YEAR_MAX}"
    try:
        result[place] = form.nanoseconds(text)
    except (ValueError, OverflowError):
        return f"{text!r}: there is no such time"
    return None


def _from_datetimes(values: NDArray[Any], rows: Integers) -> tuple[Integers, list[BarProblem]]:
    years = values.astype("datetime64[Y]").astype(np.int64) + 1970
    missing = np.isnat(values)
    outside = ~missing & ((years < YEAR_MIN) | (years > YEAR_MAX))
    result = (
        np.where(missing | outside, np.datetime64("NaT"), values).astype("datetime64[ns]").astype(np.int64)
    )
    problems = [
        BarProblem(int(rows[place]), "timestamp", "the time is missing") for place in np.flatnonzero(missing)
    ]
    problems += [
        BarProblem(int(rows[place]), "timestamp", f"the time is outside the years {YEAR_MIN} to {YEAR_MAX}")
        for place in np.flatnonzero(outside)
    ]
    return result, problems
