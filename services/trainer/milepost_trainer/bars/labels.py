"""Labels: what follows each bar, and the last bar that each label looks at.

That last bar is what the purge goes by: a sample may be used in a part only when its label is known before the
part ends. Bars whose label is not known by the end of the data have none.
"""

import math
from dataclasses import dataclass

import numpy as np
from milepost_contracts.specs.bars_labels import (
    DirectionLabel,
    LabelSpec,
    ReturnLabel,
    TripleBarrierLabel,
    ZigzagLabel,
)
from milepost_models.bar_files import Floats, Indices
from milepost_models.rolling import over_windows

NONE = -1
"""Stands for the last bar where there is no label."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One label for each bar, or none."""

    values: Floats
    """A return, or the number of a class; NaN where there is none."""
    last_bar: Indices
    """The last bar that the label looks at; ``NONE`` where there is none."""

    @property
    def known(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return where there is a label."""
        return self.last_bar != NONE


def compute_labels(close: Floats, spec: LabelSpec) -> Labels:
    """Return the labels of a series of closes."""
    match spec:
        case DirectionLabel():
            returns = forward_returns(close, spec.horizon)
            return Labels(np.where(returns.known, returns.values > 0, np.nan), returns.last_bar)
        case ReturnLabel():
            return forward_returns(close, spec.horizon)
        case TripleBarrierLabel():
            return triple_barrier(close, spec)
        case ZigzagLabel():
            return zigzag(close, spec.reversal)


def forward_returns(close: Floats, horizon: int) -> Labels:
    """ln(close[t + horizon] / close[t])."""
    labels = _none(len(close))
    logs = np.log(close)
    labels.values[:-horizon] = logs[horizon:] - logs[:-horizon]
    labels.last_bar[:-horizon] = np.arange(horizon, len(close))
    return labels


def triple_barrier(close: Floats, spec: TripleBarrierLabel) -> Labels:
    """2 (up) when profit is touched first, 0 (down) when stop is, 1 (timeout) when neither is in time.

    Touched means that a close's log return since the bar reaches the multiple of the volatility, which is the
    standard deviation of the log returns up to the bar. A bar without volatility has no label, nor has one whose
    time limit lies beyond the data: those that are touched early would be all that is left of these.
    """
    labels = _none(len(close))
    logs, volatility = np.log(close), rolling_volatility(close, spec.volatility)
    with_label = np.flatnonzero(volatility[: max(0, len(close) - spec.horizon)] > 0)
    labels.values[with_label] = 1.0
    labels.last_bar[with_label] = with_label + spec.horizon
    waiting = with_label
    for ahead in range(1, spec.horizon + 1):
        moved = logs[waiting + ahead] - logs[waiting]
        up = moved >= spec.profit * volatility[waiting]
        down = moved <= -spec.stop * volatility[waiting]
        labels.values[waiting[up]], labels.values[waiting[down]] = 2.0, 0.0
        labels.last_bar[waiting[up | down]] = waiting[up | down] + ahead
        waiting = waiting[~(up | down)]
    return labels


def rolling_volatility(close: Floats, period: int) -> Floats:
    """Return the standard deviation of the last ``period`` log returns; NaN where they are not all there."""
    changes = np.diff(np.log(close))
    return np.concatenate(([np.nan], over_windows(changes, period, lambda windows: windows.std(axis=1))))


def zigzag(close: Floats, reversal: float) -> Labels:
    """1 (up) from a swing's low on until its high, 0 (down) from the high on; see ``ZigzagLabel``.

    A label is known at the bar that shows where the swing goes from here: one beyond the extreme so far, or the
    one that confirms the reversal. Bars before the first pivot have none.
    """
    labels = _none(len(close))
    prices: list[float] = close.tolist()
    first = _first_swing(prices, reversal)
    if first is None:
        return labels
    extreme, confirmed, rising = first
    # The first pivot is none before a whole reversal follows it.
    labels.values[extreme:confirmed], labels.last_bar[extreme:confirmed] = float(rising), confirmed
    extreme = confirmed
    for bar in range(confirmed + 1, len(prices)):
        step = prices[bar] - prices[extreme]
        if _reversed(prices[extreme], prices[bar], reversal, rising):
            rising = not rising
        elif (step if rising else -step) <= 0:
            continue
        labels.values[extreme:bar], labels.last_bar[extreme:bar] = float(rising), bar
        extreme = bar
    return labels


def _first_swing(prices: list[float], reversal: float) -> tuple[int, int, bool] | None:
    """Return the first pivot, the bar that confirms it, and whether the close rises from it."""
    low = high = 0
    for bar, price in enumerate(prices):
        low = bar if price <= prices[low] else low
        high = bar if price >= prices[high] else high
        if _reversed(prices[low], price, reversal, rising=False):
            return low, bar, True
        if _reversed(prices[high], price, reversal, rising=True):
            return high, bar, False
    return None


def _reversed(extreme: float, price: float, reversal: float, rising: bool) -> bool:
    return price <= extreme * (1 - reversal) if rising else price >= extreme * (1 + reversal)


def _none(count: int) -> Labels:
    return Labels(np.full(count, math.nan), np.full(count, NONE, dtype=np.int64))
