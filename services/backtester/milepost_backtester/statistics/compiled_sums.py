"""Sums without rounding, a hundred times as fast as ``math.fsum``: each is proven, or said to be unproven.

Sixteen sums run side by side, each with the errors of its own additions, which are exact numbers (Knuth's two-sum;
Ogita, Rump and Oishi, SIAM Journal on Scientific Computing 26, 2005). What adding up those errors can lose is at
most ``n * 2**-53`` times the sum of their absolute values. Where the exact sum, a little less and a little more
round to one and the same number, that number is what ``fsum`` returns: rounding is monotonic.
"""

from typing import NamedTuple

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.compiled_calls import called, scratch_floats

LANES = 16
SLACK = 2.0**-51
"""Four times the error of one rounding."""


class Total(NamedTuple):
    """A sum, whether it is proven, and the ends of what was added up; they count only where it is."""

    value: float
    proven: bool
    lowest: float
    highest: float


def proven_total(values: Floats) -> Total:
    """Return the sum of the values and whether it is proven to be the exact one, rounded once."""
    first = values.item(0) if len(values) else 0.0
    value, proven, lowest, highest = called(add_up, [0.0, 0.0, first, first], values)
    return Total(value, proven == 1.0, lowest, highest)


def proven_products(
    first: Floats, first_mean: float, second: Floats, second_mean: float
) -> tuple[float, bool]:
    """Return the sum of ``(first - first_mean) * (second - second_mean)``, each rounded, likewise."""
    value, proven = called(add_products, [first_mean, second_mean], first, second)
    return value, proven == 1.0


def proven_downside(values: Floats) -> tuple[float, bool]:
    """Return the sum of the squares of the negative values, each rounded, likewise."""
    value, proven = called(add_downside, [0.0, 0.0], values)
    return value, proven == 1.0


@compiled
def add_up(values: Floats, others: Floats, whole: Integers, numbers: Floats) -> None:
    """Numbers found: sum, proven, lowest, highest; the last two are given as any of the values."""
    sums, errors, sizes = scratch_floats(16), scratch_floats(16), scratch_floats(16)
    _empty(sums, errors, sizes)
    lows, highs = scratch_floats(16), scratch_floats(16)
    for lane in range(LANES):
        lows[lane], highs[lane] = numbers[2], numbers[3]
    body = len(values) // LANES * LANES
    for start in range(0, body, LANES):
        for lane in range(LANES):
            value = values[start + lane]
            _add(sums, errors, sizes, lane, value)
            lows[lane], highs[lane] = min(lows[lane], value), max(highs[lane], value)
    for place in range(body, len(values)):
        value, lane = values[place], place - body
        _add(sums, errors, sizes, lane, value)
        lows[lane], highs[lane] = min(lows[lane], value), max(highs[lane], value)
    _prove(sums, errors, sizes, len(values), numbers)
    for lane in range(LANES):
        numbers[2], numbers[3] = min(numbers[2], lows[lane]), max(numbers[3], highs[lane])


@compiled
def add_products(first: Floats, second: Floats, whole: Integers, numbers: Floats) -> None:
    """Numbers given: both means; found: sum, proven."""
    sums, errors, sizes = scratch_floats(16), scratch_floats(16), scratch_floats(16)
    _empty(sums, errors, sizes)
    first_mean, second_mean = numbers[0], numbers[1]
    body = len(first) // LANES * LANES
    for start in range(0, body, LANES):
        for lane in range(LANES):
            product = (first[start + lane] - first_mean) * (second[start + lane] - second_mean)
            _add(sums, errors, sizes, lane, product)
    for place in range(body, len(first)):
        product = (first[place] - first_mean) * (second[place] - second_mean)
        _add(sums, errors, sizes, place - body, product)
    _prove(sums, errors, sizes, len(first), numbers)


@compiled
def add_downside(values: Floats, others: Floats, whole: Integers, numbers: Floats) -> None:
    """Numbers found: sum, proven."""
    sums, errors, sizes = scratch_floats(16), scratch_floats(16), scratch_floats(16)
    _empty(sums, errors, sizes)
    body = len(values) // LANES * LANES
    for start in range(0, body, LANES):
        for lane in range(LANES):
            loss = min(values[start + lane], 0.0)
            _add(sums, errors, sizes, lane, loss * loss)
    for place in range(body, len(values)):
        loss = min(values[place], 0.0)
        _add(sums, errors, sizes, place - body, loss * loss)
    _prove(sums, errors, sizes, len(values), numbers)


@compiled
def _empty(sums: Floats, errors: Floats, sizes: Floats) -> None:
    for lane in range(LANES):
        sums[lane], errors[lane], sizes[lane] = 0.0, 0.0, 0.0


@compiled
def _add(sums: Floats, errors: Floats, sizes: Floats, lane: int, value: float) -> None:
    before = sums[lane]
    after = before + value
    part = after - before
    error = (before - (after - part)) + (value - part)
    sums[lane] = after
    errors[lane] += error
    sizes[lane] += abs(error)


@compiled
def _prove(sums: Floats, errors: Floats, sizes: Floats, count: int, numbers: Floats) -> None:
    total, error, size = _joined(sums, errors, sizes)
    room = SLACK * (count + 4 * LANES) * size
    least, most = total + (error - room), total + (error + room)
    # Not equal either when something is not a number.
    numbers[0], numbers[1] = least, 1.0 if least == most else 0.0


@compiled
def _joined(sums: Floats, errors: Floats, sizes: Floats) -> tuple[float, float, float]:
    total, error, size = 0.0, 0.0, 0.0
    for lane in range(LANES):
        total, lost = _two_sum(total, sums[lane])
        error += lost + errors[lane]
        size += abs(lost) + sizes[lane]
    return total, error, size


@compiled
def _two_sum(first: float, second: float) -> tuple[float, float]:
    total = first + second
    part = total - first
    return total, (first - (total - part)) + (second - part)
