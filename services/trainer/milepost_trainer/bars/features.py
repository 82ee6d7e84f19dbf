"""Features of each bar: every one is computed from that bar and those before it, from a window of fixed length.

A window of fixed length, not a running sum or an exponential mean: the value at a bar is the same bit for bit
whatever lies before the window or after the bar.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from milepost_contracts.specs.bars_training import FeatureSpec
from numpy.lib.stride_tricks import sliding_window_view

from milepost_trainer.bars.bar_files import Bars, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Columns of features, one row for each bar."""

    names: tuple[str, ...]
    values: Floats
    first: int
    """The first row in which every feature has a value; NaN stands before it."""


def compute_features(bars: Bars, spec: FeatureSpec) -> Features:
    """Return the features that the spec names."""
    columns: dict[str, Floats] = {}
    for period in spec.returns:
        columns[f"return_{period}"] = log_return(bars.close, period)
    if spec.log_volume:
        columns["log_volume"] = np.log1p(bars.volume)
    for period in spec.moving_averages:
        columns[f"moving_average_{period}"] = moving_average_ratio(bars.close, period)
    if spec.rsi is not None:
        columns[f"rsi_{spec.rsi}"] = relative_strength(bars.close, spec.rsi)
    if spec.zscore is not None:
        columns[f"zscore_{spec.zscore}"] = zscore(bars.close, spec.zscore)
    values = np.column_stack(list(columns.values()))
    return Features(tuple(columns), values, first_row(spec))


def first_row(spec: FeatureSpec) -> int:
    """Return the first row in which every feature of the spec has a value."""
    return max(
        max(spec.returns, default=0),
        max(spec.moving_averages, default=1) - 1,
        spec.rsi or 0,
        (spec.zscore or 1) - 1,
    )


def log_return(close: Floats, period: int) -> Floats:
    """ln(close[t] / close[t - period])."""
    found = np.full(len(close), np.nan)
    logs = np.log(close)
    found[period:] = logs[period:] - logs[:-period]
    return found


def moving_average_ratio(close: Floats, period: int) -> Floats:
    """ln(close[t] / mean(close[t - period + 1 .. t]))."""
    return np.log(close / _over_window(close, period, np.mean))


def relative_strength(close: Floats, period: int) -> Floats:
    """100 * U / (U + D): means of the rises U and the falls D over the last ``period`` changes; 50 when flat."""
    change = np.diff(close, prepend=np.nan)
    rises = _over_window(np.maximum(change, 0.0), period, np.mean)
    falls = _over_window(np.maximum(-change, 0.0), period, np.mean)
    total = rises + falls
    found = np.full(len(close), 50.0)
    np.divide(100.0 * rises, total, out=found, where=total != 0)
    found[:period] = np.nan
    return found


def zscore(close: Floats, period: int) -> Floats:
    """(close[t] - mean) / standard deviation, both over close[t - period + 1 .. t]; 0 when flat."""
    mean, deviation = _over_window(close, period, np.mean), _over_window(close, period, np.std)
    found = np.zeros(len(close))
    np.divide(close - mean, deviation, out=found, where=deviation != 0)
    found[: period - 1] = np.nan
    return found


def _over_window(values: Floats, period: int, reduce: Callable[..., Floats]) -> Floats:
    """Apply ``reduce`` to the window that ends at each row; NaN where the window is not whole."""
    found = np.full(len(values), np.nan)
    if len(values) >= period:
        found[period - 1 :] = reduce(sliding_window_view(values, period), axis=1)
    return found
