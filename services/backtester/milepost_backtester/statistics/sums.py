"""Sums that do not depend on the machine: exact ones (``math.fsum``), all else correctly rounded operations."""

from math import fsum, sqrt

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.figures import Undefined

POWER_DIGITS = 12


def mean(values: Floats) -> float:
    """Return the mean; there must be values."""
    return fsum(values.tolist()) / len(values)


def covariance(first: Floats, second: Floats) -> float:
    """Return the sample covariance of at least two pairs, in two passes."""
    products = (first - mean(first)) * (second - mean(second))
    return fsum(products.tolist()) / (len(first) - 1)


def deviation(values: Floats) -> float:
    """Return the sample standard deviation of at least two values; 0 exactly where all are equal."""
    # The rounded mean of equal values may lie beside them, which would leave a deviation of dust.
    if values.min() == values.max():
        return 0.0
    return sqrt(covariance(values, values))


def grown(rate: float, exponent: float) -> float | Undefined:
    """Return ``(1 + rate) ** exponent - 1``, rounded: the last bits of a power depend on the system's library."""
    try:
        return float(f"{(1 + rate) ** exponent - 1:.{POWER_DIGITS}g}")
    except OverflowError:
        return Undefined("the annual figure is beyond all numbers: the run is too short for one")
