"""The rules of the library, compiled: wanted positions for many bars at once, as each ``on_bar`` decides.

Sums are made from the window anew, in the order of the bars, or proven to decide as exact sums do; recursive
values live in ``memory``.
"""

from collections.abc import Callable
from math import sqrt
from typing import cast

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import Primitive, compiled
from milepost_backtester.engine.layouts import Prices

scratch_floats = cast("Callable[[int], Floats]", Primitive("scratch_floats"))
ROUNDING = 2.0**-50
"""Eight times the relative error of one operation."""
FRESH_BARS = 1024
"""Sums are made anew at the latest after so many bars, or those of the window when it is longer."""


@compiled
def sma_cross(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """Compare the averages by running sums as long as their error cannot matter, else exactly."""
    fast, slow = int(parameters[0]), int(parameters[1])
    closes = close[0]
    period = max(FRESH_BARS, slow)
    fast_sum, slow_sum, peak, fresh = 0.0, 0.0, 0.0, start - period
    for bar in range(start, stop):
        if bar + 1 < slow:
            wanted[0, bar - start] = np.nan
            continue
        if bar - fresh >= period:
            fresh = bar
            fast_sum, slow_sum = 0.0, 0.0
            for place in range(bar + 1 - slow, bar + 1):
                slow_sum += closes[place]
            for place in range(bar + 1 - fast, bar + 1):
                fast_sum += closes[place]
            peak = slow_sum
        else:
            slow_sum += closes[bar] - closes[bar - slow]
            fast_sum += closes[bar] - closes[bar - fast]
            peak = max(peak, slow_sum)
        difference = fast_sum * slow - slow_sum * fast
        tolerance = ROUNDING * (fast + slow) * (period + slow) * peak
        if not abs(difference) > tolerance:
            difference = exact_difference(closes, bar + 1, fast, slow)
        wish = 0.0
        if difference > 0:
            wish = parameters[2]
        elif difference < 0:
            wish = parameters[3]
        wanted[0, bar - start] = wish


@compiled
def exact_difference(closes: Prices, stop: int, fast: int, slow: int) -> float:
    """Return a number with the sign of the exact fast average minus the slow one, of the bars before ``stop``.

    Sums without error as expansions (Shewchuk 1997): a few numbers that do not overlap. Weights have 17 bits at
    most, so that products with one half of a price are exact.
    """
    partials = scratch_floats(80)
    count = 0
    for place in range(stop - slow, stop):
        weight = float(slow - fast) if place >= stop - fast else -float(fast)
        price = closes[place]
        shifted = price * 134217729.0
        upper = shifted - (shifted - price)
        for half in range(2):
            term = weight * upper if half == 0 else weight * (price - upper)
            kept = 0
            for other in range(count):
                partial = partials[other]
                if abs(term) < abs(partial):
                    term, partial = partial, term
                total = term + partial
                rest = partial - (total - term)
                if rest != 0:
                    partials[kept] = rest
                    kept += 1
                term = total
            partials[kept] = term
            count = kept + 1
    return partials[count - 1]


@compiled
def ema_cross(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """``memory``: fast average, slow average."""
    fast_weight, slow_weight = 2.0 / (parameters[0] + 1.0), 2.0 / (parameters[1] + 1.0)
    for bar in range(start, stop):
        price = close[0, bar]
        if bar == 0:
            memory[0], memory[1] = price, price
        memory[0] += fast_weight * (price - memory[0])
        memory[1] += slow_weight * (price - memory[1])
        wish = 0.0
        if bar + 1 < parameters[1]:
            wish = np.nan
        elif memory[0] > memory[1]:
            wish = parameters[2]
        elif memory[0] < memory[1]:
            wish = parameters[3]
        wanted[0, bar - start] = wish


@compiled
def rsi_reversion(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """``memory``: average gain, average loss, wanted position."""
    period = parameters[0]
    for bar in range(start, stop):
        wanted[0, bar - start] = np.nan
        if bar == 0:
            continue
        change = close[0, bar] - close[0, bar - 1]
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if bar <= period:
            memory[0] += gain / period
            memory[1] += loss / period
        else:
            memory[0] = (memory[0] * (period - 1.0) + gain) / period
            memory[1] = (memory[1] * (period - 1.0) + loss) / period
        if bar < period:
            continue
        total = memory[0] + memory[1]
        strength = 100.0 * memory[0] / total if total > 0 else 50.0
        if strength < parameters[1]:
            memory[2] = parameters[3]
        elif strength > parameters[2]:
            memory[2] = 0.0
        wanted[0, bar - start] = memory[2]


@compiled
def donchian_breakout(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """``memory``: wanted position."""
    enter, leave, units = int(parameters[0]), int(parameters[1]), parameters[2]
    for bar in range(start, stop):
        wanted[0, bar - start] = np.nan
        if bar < max(enter, leave):
            continue
        price, wish = close[0, bar], memory[0]
        if wish > 0 and price < _lowest(low, bar - leave, bar):
            wish = 0.0
        if wish < 0 and price > _highest(high, bar - leave, bar):
            wish = 0.0
        if price > _highest(high, bar - enter, bar):
            wish = units
        elif parameters[3] > 0 and price < _lowest(low, bar - enter, bar):
            wish = -units
        memory[0] = wish
        wanted[0, bar - start] = wish


@compiled
def _highest(prices: Prices, start: int, stop: int) -> float:
    found = prices[0, start]
    for bar in range(start + 1, stop):
        found = max(found, prices[0, bar])
    return found


@compiled
def _lowest(prices: Prices, start: int, stop: int) -> float:
    found = prices[0, start]
    for bar in range(start + 1, stop):
        found = min(found, prices[0, bar])
    return found


@compiled
def bollinger(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """``memory``: wanted position."""
    window = int(parameters[0])
    for bar in range(start, stop):
        wanted[0, bar - start] = np.nan
        if bar + 1 < window:
            continue
        total = 0.0
        for place in range(bar + 1 - window, bar + 1):
            total += close[0, place]
        average = total / window
        squares = 0.0
        for place in range(bar + 1 - window, bar + 1):
            distance = close[0, place] - average
            squares += distance * distance
        price = close[0, bar]
        if price < average - parameters[1] * sqrt(squares / window):
            memory[0] = parameters[2]
        elif price >= average:
            memory[0] = 0.0
        wanted[0, bar - start] = memory[0]


@compiled
def buy_and_hold(
    start: int, stop: int, timestamp: Integers, open_price: Prices, high: Prices, low: Prices, close: Prices,
    volume: Prices, parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    """Want the same all the time."""
    for bar in range(start, stop):
        wanted[0, bar - start] = parameters[0]
