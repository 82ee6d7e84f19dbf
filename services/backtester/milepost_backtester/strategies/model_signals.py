"""The rule of the strategy ``model``, compiled: positions by what the model says at each bar."""

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.compiled_calls import called


def hold_by_scores(
    up: Floats, down: Floats, close: Floats, parameters: Floats, memory: Floats, wanted: Floats
) -> None:
    """Write the positions wanted at some bars; ``memory`` is as the bar before left it, and changed.

    ``parameters``: enter and leave long, enter and leave short, amount, whether that is money.
    ``memory``: side (1 long, -1 short, 0 neither), wanted position.
    """
    numbers = [*parameters.tolist(), *memory.tolist()]
    memory[:] = called(_hold, numbers, wanted, np.concatenate((up, down, close)))[len(parameters) :]


@compiled
def _hold(wanted: Floats, seen: Floats, whole: Integers, numbers: Floats) -> None:
    """Decide as ``Model.on_bar``; ``seen``: scores of rising and falling prices, closes, one after another."""
    count = len(wanted)
    side, position = numbers[6], numbers[7]
    for bar in range(count):
        up, down = seen[bar], seen[count + bar]
        if np.isnan(up):
            wanted[bar] = np.nan
            continue
        before = side
        if (side > 0 and up < numbers[1]) or (side < 0 and down < numbers[3]):
            side = 0.0
        if side <= 0 and up > numbers[0]:
            side = 1.0
        elif side >= 0 and down > numbers[2]:
            side = -1.0
        if side != before:
            position = side * (numbers[4] / seen[2 * count + bar] if numbers[5] > 0 else numbers[4])
        wanted[bar] = position
    numbers[6], numbers[7] = side, position


def prepare() -> None:
    """Compile, or load."""
    one = np.ones(1)
    hold_by_scores(one, one, one, np.ones(6), np.zeros(2), np.empty(1))
