"""The rule of the strategy ``model``, compiled: positions by what the model says at each bar."""

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.layouts import Prices


@compiled
def hold_by_scores(
    start: int, stop: int, long: Floats, short: Floats, close: Prices, parameters: Floats, memory: Floats,
    wanted: Floats,
) -> None:  # fmt: skip
    """Decide as ``Model.on_bar``; scores are those of the bars from ``start`` on.

    ``parameters``: enter and leave long, enter and leave short, amount, whether that is money.
    ``memory``: side (1 long, -1 short, 0 neither), wanted position.
    """
    for bar in range(start, stop):
        up, down = long[bar - start], short[bar - start]
        if np.isnan(up):
            wanted[0, bar - start] = np.nan
            continue
        before = side = memory[0]
        if (side > 0 and up < parameters[1]) or (side < 0 and down < parameters[3]):
            side = 0.0
        if side <= 0 and up > parameters[0]:
            side = 1.0
        elif side >= 0 and down > parameters[2]:
            side = -1.0
        if side != before:
            memory[0] = side
            memory[1] = side * (parameters[4] / close[0, bar] if parameters[5] > 0 else parameters[4])
        wanted[0, bar - start] = memory[1]


def prepare() -> None:
    """Compile, or load."""
    one = np.ones(1)
    hold_by_scores(0, 1, one, one, one[np.newaxis], np.ones(6), np.zeros(2), one[np.newaxis].copy())
