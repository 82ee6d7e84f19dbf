"""Compiled sums are those of ``math.fsum``, bit for bit, or say that they might not be."""

from math import fsum, inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.statistics.compiled_sums import proven_products, proven_total
from milepost_backtester.statistics.sums import covariance, mean, total

pytestmark = pytest.mark.unit

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e290, max_value=1e290)


@settings(deadline=None)  # the first call compiles
@given(st.lists(NUMBERS, max_size=200))
def test_any_numbers_sum_as_fsum_sums_them(values: list[float]) -> None:
    """Of whatever size and sign, the sum is the exact one, rounded once."""
    assert total(np.array(values, dtype=np.float64)) == fsum(values)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 1_000, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_returns_sum_as_fsum_sums_them(count: int, seed: int) -> None:
    """Sums and covariances of numbers such as returns are those that a slow exact sum gives."""
    draw = np.random.default_rng(seed)
    first = draw.normal(0, 1e-4, count) * (draw.random(count) > 0.4)
    second = draw.normal(0, 1e-3, count)
    assert total(first) == fsum(first.tolist())
    assert mean(second) == fsum(second.tolist()) / count
    if count > 1:
        products = (first - mean(first)) * (second - mean(second))
        assert covariance(first, second) == fsum(products.tolist()) / (count - 1)


def test_nearly_all_sums_are_proven_without_a_second_look() -> None:
    """Of ten thousand sums no more than one in a hundred has to be made again, slowly."""
    draw = np.random.default_rng(3)
    sums = [proven_total(draw.normal(0, 1e-4, 300)).proven for _ in range(10_000)]
    products = [proven_products(values, 0.1, values, 0.2) for values in draw.normal(0, 1, (1_000, 300))]
    assert sums.count(False) < 100
    assert sum(not proven for _, proven in products) < 10


def test_what_cannot_be_told_is_called_unproven() -> None:
    """A sum that lies half-way between two numbers, or is no number, is left to the slow way."""
    tie = np.array([1.0, 2.0**-53, 2.0**-106, -(2.0**-106)])
    assert not proven_total(tie).proven
    assert total(tie) == fsum(tie.tolist())
    assert not proven_total(np.array([1.0, nan])).proven
    assert not proven_total(np.array([inf, 1.0, -inf])).proven
