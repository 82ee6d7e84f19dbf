"""Where the lines of a chart's axes are and what stands at them.

Bars are at equal distances, whatever time lies between them: nights and weekends leave no holes.
"""

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from milepost_backtester.engine.bars import Integers

TIME_TICKS_MAX = 9
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_DAY_SECONDS = 86_400
_MONTH_SECONDS = 2_629_800
_UNITS: tuple[tuple[str, int, int], ...] = (
    *(("m", 60 * count, count) for count in (1, 5, 15, 30)),
    *(("h", 3600 * count, count) for count in (1, 3, 6, 12)),
    *(("D", _DAY_SECONDS * count, count) for count in (1, 2, 7, 14)),
    *(("M", _MONTH_SECONDS * count, count) for count in (1, 3, 6)),
    *(("Y", 12 * _MONTH_SECONDS * count, count) for count in (1, 2, 5, 10, 20, 50)),
)
"""Units of time from small to large: numpy's letter, seconds, how many of them."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Tick:
    """One line of an axis."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to the height of a panel."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return 0 at the bottom, 1 at the top."""
        return (value - self.low) / (self.high - self.low)


def scale_of(low: float, high: float, *, margin: float = 0.06) -> Scale:
    """Return a scale with some room above and below; never of no height."""
    room = (high - low) * margin or abs(low) * 0.01 or 1.0
    return Scale(low - room, high + room)


def value_ticks(scale: Scale, count: int) -> list[float]:
    """Return about ``count`` round values within a scale."""
    rough = (scale.high - scale.low) / max(count, 1)
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    first, last = ceil(scale.low / step), floor(scale.high / step)
    # Whole multiples, rounded: 0.1 * 3 would be labelled 0.30000000000000004.
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def time_ticks(timestamp: Integers, *, spacing: float = 0.0) -> list[Tick]:
    """Return the bars at which a new round unit of time begins, at least ``spacing`` bars apart."""
    seconds = float(timestamp[-1] - timestamp[0]) / 1e9
    fitting = (unit for unit in _UNITS if seconds / unit[1] <= TIME_TICKS_MAX)
    letter, _, count = next(fitting, _UNITS[-1])
    moments = timestamp.astype("datetime64[ns]")
    numbers = moments.astype(f"datetime64[{letter}]").astype(np.int64)
    # Years count from 0, not from 1970, so that 2000 and 2010 are round.
    periods = (numbers + (1970 if letter == "Y" else 0)) // count
    found: list[Tick] = []
    for place in (np.flatnonzero(np.diff(periods)) + 1).tolist():
        if not found or place - found[-1].place >= spacing:
            found.append(Tick(place, _words(str(moments[place]), letter)))
    return found


def short_time(nanoseconds: int, *, with_clock: bool) -> str:
    """Return a moment as ``2024-03-01`` or ``2024-03-01 14:30``."""
    text = str(np.datetime64(nanoseconds, "ns"))
    return text[:16].replace("T", " ") if with_clock else text[:10]


def _words(moment: str, letter: str) -> str:
    year, month, day, clock = moment[:4], int(moment[5:7]), int(moment[8:10]), moment[11:16]
    match letter:
        case "Y":
            return year
        case "M":
            return year if month == 1 else f"{_MONTHS[month - 1]} {year}"
        case "D":
            return f"{day} {_MONTHS[month - 1]}"
        case _:
            return f"{day} {_MONTHS[month - 1]}" if clock == "00:00" else clock
