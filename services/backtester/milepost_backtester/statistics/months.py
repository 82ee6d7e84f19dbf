"""Returns of calendar months."""

from dataclasses import dataclass

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers


@dataclass(frozen=True, slots=True)
class MonthReturn:
    """Return of one month (UTC)."""

    year: int
    month: int
    """1 to 12."""
    rate: float | None
    """``last equity of the month / last equity before it - 1``; None where the one before is not positive."""


def monthly_returns(timestamp: Integers, equity: Floats, initial_cash: float) -> list[MonthReturn]:
    """Return the months that have bars; the first one counts from the initial cash."""
    months = timestamp.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    last = np.append(np.flatnonzero(np.diff(months)), len(months) - 1)
    found: list[MonthReturn] = []
    before = initial_cash
    for number, value in zip(months[last].tolist(), equity[last].tolist(), strict=True):
        rate = value / before - 1 if before > 0 else None
        found.append(MonthReturn(1970 + number // 12, number % 12 + 1, rate))
        before = value
    return found
