"""Which positions a compiled rule wants at some bars."""

import numpy as np

from milepost_backtester.engine import frame as places
from milepost_backtester.engine.bars import Bars, Floats
from milepost_backtester.engine.compiled import Compiled
from milepost_backtester.engine.errors import CompiledCodeError
from milepost_backtester.engine.frame import Frame
from milepost_backtester.engine.native import NativeCall, signals_call
from milepost_backtester.engine.strategy import CompiledRule

PLACES_OF_BARS = (
    places.TIMESTAMP,
    places.OPEN,
    places.HIGH,
    places.LOW,
    places.CLOSE,
    places.VOLUME,
)


class Wishes:
    """Asks the rule, by the quickest way that it allows."""

    __slots__ = ("_arrays", "_call", "_frame", "_rule")

    def __init__(self, bars: Bars, rule: CompiledRule) -> None:
        prices = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        self._rule = rule
        self._arrays = (
            np.ascontiguousarray(bars.timestamp),
            *(np.ascontiguousarray(column[np.newaxis]) for column in prices),
        )
        self._frame = Frame()
        for place, array in zip(PLACES_OF_BARS, self._arrays, strict=True):
            self._frame.put(place, array)
        self._frame.put(places.PARAMETERS, rule.parameters)
        self._frame.put(places.MEMORY, rule.memory)
        self._call = _call_of(rule)

    def of(self, start: int, stop: int) -> Floats:
        """Return the positions wanted at the close of bars from ``start`` to before ``stop``: (1, bars)."""
        wanted: Floats = np.empty((1, stop - start))
        rule = self._rule
        if self._call is None:
            rule.signals(start, stop, *self._arrays, rule.parameters, rule.memory, wanted)
        else:
            self._frame.put(places.WANTED, wanted)
            self._call(start, stop, self._frame.address)
        return wanted


def _call_of(rule: CompiledRule) -> NativeCall | None:
    """Return the way without numba; None for functions of numba's own, and those that make arrays."""
    if not isinstance(rule.signals, Compiled):
        return None
    try:
        return signals_call(rule.signals)
    except CompiledCodeError:
        return None
