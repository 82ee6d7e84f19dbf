"""Compiled code over the arrays of a run, called without numba (see ``engine.native``)."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.compiled import Compiled, Primitive
from milepost_backtester.engine.native import numbers_call

NumbersFunction = Callable[[Floats, Floats, Integers, Floats], None]
NO_FLOATS: Floats = np.empty(0)
NO_INTEGERS: Integers = np.empty(0, dtype=np.int64)

scratch_floats = cast("Callable[[int], Floats]", Primitive("scratch_floats"))
"""Room for compiled code: it must not make arrays."""


def called(
    function: NumbersFunction,
    numbers: list[float],
    values: Floats,
    others: Floats = NO_FLOATS,
    whole: Integers = NO_INTEGERS,
) -> list[float]:
    """Call a compiled function; ``numbers`` are what it is given, and it returns them as it leaves them.

    Arrays that it reads may have gaps, those that it writes must not.
    """
    arrays = [np.ascontiguousarray(array) for array in (values, others, whole)]
    kept = np.array(numbers, dtype=np.float64)
    frame = np.array(
        [number for array in (*arrays, kept) for number in (_address(array), len(array), 0)], dtype=np.int64
    )
    numbers_call(cast("Compiled", function))(_address(frame))
    return kept.tolist()


def _address(array: Any) -> int:
    return array.__array_interface__["data"][0]
