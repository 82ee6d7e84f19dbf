"""Rules of the library for the compiled tier; imported only where arrays are."""

import numpy as np

from milepost_backtester.engine.strategy import CompiledRule
from milepost_backtester.strategies import signals


def rule_of(name: str, *parameters: float, memory_places: int = 0) -> CompiledRule:
    """Return a compiled rule of the library in its first state."""
    return CompiledRule(
        getattr(signals, name), np.array(parameters, dtype=np.float64), np.zeros(memory_places)
    )
