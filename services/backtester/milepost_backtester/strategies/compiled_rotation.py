"""``Rotation`` as a compiled ``on_bar`` of several symbols; imported only where arrays are.

``parameters``: lookback, hold, every, exposure, and whether only what rose is held. ``memory``: bars seen, then of
each symbol its own bars seen and the ring of its last closes.
"""

from math import inf

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.desk import Desk, close, equity, has_bar, of, symbols, target
from milepost_backtester.engine.strategy import ActingRule

NOBODY = -1


def rotation_rule(*parameters: float, symbol_count: int) -> ActingRule:
    """Return it in its first state."""
    ring = int(parameters[0]) + 1
    return ActingRule(rotate, np.array(parameters, dtype=np.float64), np.zeros(1 + symbol_count * (1 + ring)))


@compiled
def rotate(desk: Desk, parameters: Floats, memory: Floats) -> None:
    """Take the closes in; every so many bars change what is held."""
    hold, every = int(parameters[1]), int(parameters[2])
    for symbol in range(symbols(desk)):
        if has_bar(of(desk, symbol)):
            take_in(symbol, close(of(desk, symbol)), parameters, memory)
    memory[0] += 1.0
    if int(memory[0]) % every != 0:
        return
    # What is sold comes first, so that its money is there for what is bought.
    for symbol in range(symbols(desk)):
        if not is_among_first(symbol, hold, symbols(desk), parameters, memory):
            target(of(desk, symbol), 0.0)
    fraction = parameters[3] / parameters[1]
    chosen = NOBODY
    for _ in range(hold):
        chosen = next_after(chosen, symbols(desk), parameters, memory)
        if chosen == NOBODY:
            return
        leg = of(desk, chosen)
        target(leg, fraction * equity(leg) / close(leg))


@compiled
def take_in(symbol: int, price: float, parameters: Floats, memory: Floats) -> None:
    """Put a close in the symbol's ring."""
    ring = int(parameters[0]) + 1
    place = 1 + symbol * (1 + ring)
    memory[place + 1 + int(memory[place]) % ring] = price
    memory[place] += 1.0


@compiled
def strength(symbol: int, parameters: Floats, memory: Floats) -> float:
    """Return the last close over the one ``lookback`` bars before; less than any for what cannot be held."""
    ring = int(parameters[0]) + 1
    place = 1 + symbol * (1 + ring)
    seen = int(memory[place])
    if seen < ring:
        return -inf
    found = memory[place + 1 + (seen - 1) % ring] / memory[place + 1 + seen % ring]
    return found if found > 1.0 or parameters[4] == 0 else -inf


@compiled
def comes_before(symbol: int, other: int, parameters: Floats, memory: Floats) -> bool:
    """Say whether a symbol is stronger than another, or as strong and before it in the spec."""
    mine, its = strength(symbol, parameters, memory), strength(other, parameters, memory)
    return mine > its or (mine == its and symbol < other)


@compiled
def is_among_first(symbol: int, hold: int, count: int, parameters: Floats, memory: Floats) -> bool:
    """Say whether a symbol is one of the strongest ``hold``."""
    if strength(symbol, parameters, memory) == -inf:
        return False
    before = 0
    for other in range(count):
        if comes_before(other, symbol, parameters, memory):
            before += 1
    return before < hold


@compiled
def next_after(symbol: int, count: int, parameters: Floats, memory: Floats) -> int:
    """Return the strongest of those that come after a symbol, or of all after ``NOBODY``; ``NOBODY`` for none."""
    found = NOBODY
    for other in range(count):
        after = symbol == NOBODY or comes_before(symbol, other, parameters, memory)
        if (
            after
            and strength(other, parameters, memory) != -inf
            and (found == NOBODY or comes_before(other, found, parameters, memory))
        ):
            found = other
    return found
