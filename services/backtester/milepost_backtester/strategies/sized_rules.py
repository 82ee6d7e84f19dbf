"""The rules of the library with sizes that depend on the account, as one compiled ``on_bar`` for all of them.

``parameters``: those of the rule, then its number, then the four of ``Sizing.numbers``. ``memory``: that of the
rule, then side, units, bars seen, last close and average true range.
"""

from collections.abc import Callable
from typing import cast

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.compiled import Primitive, compiled
from milepost_backtester.engine.desk import Desk, equity, position, target
from milepost_backtester.engine.layouts import Prices
from milepost_backtester.strategies import signals

scratch_prices = cast("Callable[[int], Prices]", Primitive("scratch_prices"))
sma_cross, ema_cross, rsi_reversion = signals.sma_cross, signals.ema_cross, signals.rsi_reversion
donchian_breakout, bollinger, buy_and_hold = (
    signals.donchian_breakout,
    signals.bollinger,
    signals.buy_and_hold,
)
RULES = ("sma_cross", "ema_cross", "rsi_reversion", "donchian_breakout", "bollinger", "buy_and_hold")
"""By their numbers."""
CASH, EQUITY, TARGET, VOLATILITY = 1, 2, 3, 4
"""Kinds of ``sizing.KINDS``."""
SIZING_PARAMETERS, SIZING_MEMORY = 5, 5


@compiled
def hold_sized(desk: Desk, parameters: Floats, memory: Floats) -> None:
    """Decide as ``LevelRule.on_bar``."""
    wanted = scratch_prices(1)
    wish(desk, parameters, memory, wanted)
    see_range(desk, parameters, memory)
    units = sized(desk, wanted[0, 0], parameters, memory)
    if not np.isnan(units) and units != position(desk):
        target(desk, units)


@compiled
def wish(desk: Desk, parameters: Floats, memory: Floats, wanted: Prices) -> None:
    """Fill in what the rule wants at this bar."""
    rule = int(parameters[len(parameters) - 5])
    bar, bars = desk.bar, desk.bars
    prices = (bars.open, bars.high, bars.low, bars.close, desk.volume)
    if rule == 0:
        sma_cross(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)
    elif rule == 1:
        ema_cross(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)
    elif rule == 2:
        rsi_reversion(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)
    elif rule == 3:
        donchian_breakout(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)
    elif rule == 4:
        bollinger(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)
    else:
        buy_and_hold(bar, bar + 1, bars.timestamp, *prices, parameters, memory, wanted)


@compiled
def see_range(desk: Desk, parameters: Floats, memory: Floats) -> None:
    """Take in the bar's range, as ``Sizing.see``."""
    if parameters[len(parameters) - 4] != VOLATILITY:
        return
    place = len(memory) - 5
    number, before = memory[place + 2], memory[place + 3]
    high, low = desk.bars.high[0, desk.bar], desk.bars.low[0, desk.bar]
    memory[place + 2], memory[place + 3] = number + 1.0, desk.bars.close[0, desk.bar]
    if number == 0:
        return
    reach = max(high - low, abs(high - before), abs(low - before))
    period = parameters[len(parameters) - 1]
    if number <= period:
        memory[place + 4] += reach / period
    else:
        memory[place + 4] = (memory[place + 4] * (period - 1.0) + reach) / period


@compiled
def sized(desk: Desk, wanted: float, parameters: Floats, memory: Floats) -> float:
    """Return the position for the side of the wanted one, as ``Sizing.units``; not a number for no wish."""
    if np.isnan(wanted):
        return wanted
    kind, place = parameters[len(parameters) - 4], len(memory) - 5
    side = 0.0
    if wanted > 0:
        side = 1.0
    elif wanted < 0:
        side = -1.0
    if kind == TARGET and side != 0:
        units = side * size(desk, parameters, memory)
        tolerance = parameters[len(parameters) - 2]
        if side != memory[place] or abs(units - memory[place + 1]) > tolerance * abs(units):
            memory[place + 1] = units
    elif side != memory[place]:
        has_range = memory[place + 2] > parameters[len(parameters) - 1] and memory[place + 4] > 0
        if side != 0 and kind == VOLATILITY and not has_range:
            return np.nan
        memory[place + 1] = side * size(desk, parameters, memory) if side != 0 else 0.0
    memory[place] = side
    return memory[place + 1]


@compiled
def size(desk: Desk, parameters: Floats, memory: Floats) -> float:
    """Return the units of a side that is entered at this bar."""
    kind, quantity = parameters[len(parameters) - 4], parameters[len(parameters) - 3]
    close = desk.bars.close[0, desk.bar]
    if kind == CASH:
        return quantity / close
    worth = max(0.0, equity(desk))
    return quantity * worth / (memory[len(memory) - 1] if kind == VOLATILITY else close)
