"""Bars of a higher timeframe, gathered from those that a strategy sees one by one.

A higher bar is complete when the first bar of a later period arrives, not before: a bar's time is that of its
beginning, so nobody knows whether another one of the same period will follow. What is given out therefore never
looks ahead, whatever is missing. Periods are counted in UTC from midnight, those longer than a day from Monday,
5 January 1970; so weeks begin on Mondays.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a host describes strategies without loading arrays
    from milepost_backtester.engine.bars import Bar

MINUTE_NANOSECONDS = 60 * 10**9
UNIT_MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
WRITTEN = re.compile(r"^([1-9][0-9]{0,4})([mhdw])$")
FIRST_MONDAY_NANOSECONDS = 4 * 24 * 60 * MINUTE_NANOSECONDS
NO_PERIOD = -1


def period_nanoseconds(timeframe: str) -> int:
    """Return how long a period of ``15m``, ``4h``, ``1d`` or ``2w`` is.

    Raises:
        ValueError: it is not written so.
    """
    found = WRITTEN.match(timeframe)
    if found is None:
        raise ValueError(
            f"timeframe {timeframe!r}: write a number and m, h, d or w, such as 15m, 4h, 1d or 1w"
        )
    return int(found[1]) * UNIT_MINUTES[found[2]] * MINUTE_NANOSECONDS


@dataclass(frozen=True, slots=True)
class HigherBar:
    """All bars of one period as one."""

    timestamp: int
    """Where the period begins: nanoseconds since 1970-01-01 UTC."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    """A sum in the order of the bars."""


class HigherTimeframe:
    """Gathers the bars of one symbol into those of a higher timeframe; part of a strategy and of its state."""

    __slots__ = ("_close", "_high", "_low", "_open", "_period", "_start", "_volume")

    def __init__(self, timeframe: str) -> None:
        """``timeframe``: see ``period_nanoseconds``."""
        self._period = period_nanoseconds(timeframe)
        self._start = NO_PERIOD
        self._open = self._high = self._low = self._close = self._volume = 0.0

    def see(self, bar: "Bar") -> HigherBar | None:
        """Take in the bar that just ended; return the higher bar that its arrival shows to be complete."""
        start = bar.timestamp - (bar.timestamp - FIRST_MONDAY_NANOSECONDS) % self._period
        if start == self._start:
            self._high = max(self._high, bar.high)
            self._low = min(self._low, bar.low)
            self._close = bar.close
            self._volume += bar.volume
            return None
        complete = None if self._start == NO_PERIOD else self._partial()
        self._start = start
        self._open, self._high, self._low = bar.open, bar.high, bar.low
        self._close, self._volume = bar.close, bar.volume
        return complete

    def state_dict(self) -> dict[str, Any]:
        """Return the period and its bar so far: open, high, low, close, volume."""
        return {
            "start": self._start,
            "partial": [self._open, self._high, self._low, self._close, self._volume],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._start = state["start"]
        self._open, self._high, self._low, self._close, self._volume = state["partial"]

    def _partial(self) -> HigherBar:
        return HigherBar(self._start, self._open, self._high, self._low, self._close, self._volume)
