"""Features of each bar: every one is computed from that bar and those before it.

Indicators come from TA-Lib. Its sums and exponential means run on from the first bar, so the bits at a bar follow
from all bars before it, never from those after it: bars that begin elsewhere give other last bits. An exponential
mean begins with a plain one; rows where that beginning still weighs more than ``START_WEIGHT_MAX`` are not used.
"""

import math
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import talib
from milepost_contracts.specs.bars_training import BollingerSpec, FeatureSpec, MacdSpec

from milepost_models.bar_files import Bars, Floats
from milepost_models.rolling import over_windows

START_WEIGHT_MAX = 0.001
"""How much an exponential mean's first value may still weigh in the first row that is used."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Columns of features, one row for each bar."""

    names: tuple[str, ...]
    values: Floats
    first: int
    """The first row in which every feature has a value; what stands before it is not to be used."""


def data_versions() -> dict[str, str]:
    """Return the versions that decide the features' bits, for the fingerprint."""
    return {"ta_lib": f"{version('TA-Lib')} ({talib.__ta_version__.decode().split()[0]})"}


def compute_features(bars: Bars, spec: FeatureSpec) -> Features:
    """Return the features that the spec names, in an order that follows from the spec.

    Raises:
        ValueError: some bar's feature is not finite from the first usable row on; each feature is named.
    """
    # What is not finite is refused below, with its name.
    with np.errstate(all="ignore"):
        columns = _columns(bars, spec)
    first = first_row(spec)
    faulty = [name for name, column in columns.items() if not np.isfinite(column[first:]).all()]
    if faulty:
        raise ValueError(f"some bars have no finite {', '.join(faulty)}")
    return Features(tuple(columns), np.column_stack(list(columns.values())), first)


def _columns(bars: Bars, spec: FeatureSpec) -> dict[str, Floats]:
    close = bars.close
    columns: dict[str, Floats] = {}
    for period in spec.returns:
        columns[f"return_{period}"] = log_return(close, period)
    if spec.log_volume:
        columns["log_volume"] = np.log1p(bars.volume)
    for period in spec.moving_averages:
        columns[f"moving_average_{period}"] = np.log(close / talib.SMA(close, period))
    for period in spec.exponential_averages:
        columns[f"exponential_average_{period}"] = np.log(close / talib.EMA(close, period))
    if spec.rsi is not None:
        columns[f"rsi_{spec.rsi}"] = talib.RSI(close, spec.rsi)
    if spec.macd is not None:
        columns |= macd(close, spec.macd)
    if spec.atr is not None:
        columns[f"atr_{spec.atr}"] = talib.ATR(bars.high, bars.low, close, spec.atr) / close
    if spec.bollinger is not None:
        columns |= bollinger(close, spec.bollinger)
    if spec.zscore is not None:
        columns[f"zscore_{spec.zscore}"] = zscore(close, spec.zscore)
    return columns


def first_row(spec: FeatureSpec) -> int:
    """Return the first row in which every feature of the spec has a value that can be used."""
    firsts = [0, *spec.returns]
    firsts += [period - 1 for period in spec.moving_averages]
    firsts += [period - 1 + fading_rows(period) for period in spec.exponential_averages]
    # Wilder's mean is an exponential one that gives the newest value the weight 1 / period.
    firsts += [period + fading_rows(2 * period - 1) for period in (spec.rsi, spec.atr) if period is not None]
    if spec.macd is not None:
        slow, signal = spec.macd.slow, spec.macd.signal
        firsts.append(slow - 1 + fading_rows(slow) + signal - 1 + fading_rows(signal))
    if spec.bollinger is not None:
        firsts.append(spec.bollinger.period - 1)
    if spec.zscore is not None:
        firsts.append(spec.zscore - 1)
    return max(firsts)


def fading_rows(period: int) -> int:
    """Return the rows after which an exponential mean's first value weighs no more than ``START_WEIGHT_MAX``.

    Each row leaves 1 - 2 / (period + 1) of it.
    """
    left = 1 - 2 / (period + 1)
    return math.ceil(math.log(START_WEIGHT_MAX) / math.log(left)) if left > 0 else 0


def log_return(close: Floats, period: int) -> Floats:
    """ln(close[t] / close[t - period])."""
    found = np.full(len(close), np.nan)
    logs = np.log(close)
    found[period:] = logs[period:] - logs[:-period]
    return found


def macd(close: Floats, spec: MacdSpec) -> dict[str, Floats]:
    """Fast less slow exponential mean, the mean of that, and the difference of both, as shares of the close."""
    line, signal, difference = talib.MACD(close, spec.fast, spec.slow, spec.signal)
    suffix = f"{spec.fast}_{spec.slow}_{spec.signal}"
    return {
        f"macd_line_{suffix}": line / close,
        f"macd_signal_{suffix}": signal / close,
        f"macd_difference_{suffix}": difference / close,
    }


def bollinger(close: Floats, spec: BollingerSpec) -> dict[str, Floats]:
    """Where the close is between the bands (0.5 when they meet), and their distance over the mean."""
    # TA-Lib takes variances below a fixed number for zero, so prices must be of the order of 1.
    scaled = close / close[0]
    upper, middle, lower = talib.BBANDS(scaled, spec.period, spec.deviations, spec.deviations)
    place = np.full(len(close), 0.5)
    np.divide(scaled - lower, upper - lower, out=place, where=upper != lower)
    suffix = f"{spec.period}_{spec.deviations:g}"
    return {f"bollinger_place_{suffix}": place, f"bollinger_width_{suffix}": (upper - lower) / middle}


def zscore(close: Floats, period: int) -> Floats:
    """(close[t] - mean) / standard deviation, both over close[t - period + 1 .. t]; 0 when flat."""
    return over_windows(close, period, _last_scores)


def _last_scores(windows: Floats) -> Floats:
    # A flat window's mean may be off by a last bit, and its deviation with it; extremes are exact.
    moving = windows.max(axis=1) != windows.min(axis=1)
    found = np.zeros(len(windows))
    np.divide(windows[:, -1] - windows.mean(axis=1), windows.std(axis=1), out=found, where=moving)
    return found
