"""Sums that do not depend on the machine: exact ones, as ``math.fsum`` makes them; else single operations."""

from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.compiled_sums import proven_downside, proven_products, proven_total
from milepost_backtester.statistics.figures import Undefined

POWER_DIGITS = 12


def total(values: Floats) -> float:
    """Return the exact sum, rounded once; 0 of no values."""
    found = proven_total(values)
    return found.value if found.proven else fsum(values.tolist())


def mean(values: Floats) -> float:
    """Return the mean; there must be values."""
    return total(values) / len(values)


def covariance(first: Floats, second: Floats, *, means: tuple[float, float] | None = None) -> float:
    """Return the sample covariance of at least two pairs, in two passes; ``means`` spare the first one."""
    first_mean, second_mean = means or (mean(first), mean(second))
    found, proven = proven_products(first, first_mean, second, second_mean)
    if not proven:
        found = fsum(((first - first_mean) * (second - second_mean)).tolist())
    return found / (len(first) - 1)


def mean_downside(values: Floats) -> float:
    """Return the mean square of the values, those from 0 on counted as 0; there must be values."""
    found, proven = proven_downside(values)
    if not proven:
        found = fsum((np.minimum(values, 0.0) ** 2).tolist())
    return found / len(values)


def deviation(values: Floats) -> float:
    """Return the sample standard deviation of at least two values; 0 exactly where all are equal."""
    return sample_of(values).spread


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """At least two values with what is needed of them again and again."""

    values: Floats
    average: float
    variance: float
    spread: float
    """Sample standard deviation; 0 exactly, as the variance, where all values are equal."""


def sample_of(values: Floats) -> Sample:
    """Return the values with their mean and deviation."""
    found = proven_total(values)
    average = (found.value if found.proven else fsum(values.tolist())) / len(values)
    # The rounded mean of equal values may lie beside them, which would leave a deviation of dust.
    if found.lowest == found.highest if found.proven else values.min() == values.max():
        return Sample(values, average, 0.0, 0.0)
    variance = covariance(values, values, means=(average, average))
    return Sample(values, average, variance, sqrt(variance))


def grown(rate: float, exponent: float) -> float | Undefined:
    """Return ``(1 + rate) ** exponent - 1``, rounded: the last bits of a power depend on the system's library."""
    try:
        return float(f"{(1 + rate) ** exponent - 1:.{POWER_DIGITS}g}")
    except OverflowError:
        return Undefined("the annual figure is beyond all numbers: the run is too short for one")
