"""Rules of the library for the compiled tier; imported only where arrays are."""

import numpy as np

from milepost_backtester.engine.strategy import ActingRule, CompiledRule
from milepost_backtester.strategies import signals
from milepost_backtester.strategies.sized_rules import RULES, SIZING_MEMORY, hold_sized
from milepost_backtester.strategies.sizing import Sizing


def rule_of(
    name: str, *parameters: float, memory_places: int = 0, sizing: Sizing | None = None
) -> CompiledRule | ActingRule:
    """Return a compiled rule of the library in its first state; one with a size sees the account."""
    if sizing is None:
        return CompiledRule(
            getattr(signals, name), np.array(parameters, dtype=np.float64), np.zeros(memory_places)
        )
    numbers = (*parameters, float(RULES.index(name)), *sizing.numbers)
    return ActingRule(
        hold_sized, np.array(numbers, dtype=np.float64), np.zeros(memory_places + SIZING_MEMORY)
    )
