"""What compiled code needs beneath Python: arrays from their addresses, calls by address, and its entries.

Imports numba; nothing imports this module unless something has to be compiled.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

from milepost_backtester.engine import frame as places
from milepost_backtester.engine import kernel, layouts
from milepost_backtester.engine.compiled import numba_that_knows

# numba has no types; Any says so once.
nb: Any = numba_that_knows()
nt: Any = types
populate_array: Any = getattr(arrayobj, "populate_array")  # noqa: B009 - it has no types either
WORD: Any = nt.int64
SCHEDULED_ROOM, REASONS = layouts.SCHEDULED_ROOM, layouts.REASONS


def _array_in_frame(dtype: Any, dimensions: int) -> Any:
    """Return a function of a frame's address and a place that gives the array there."""
    array_type = nt.Array(nb.from_dtype(np.dtype(dtype)), dimensions, "C")

    @intrinsic
    def array_in_frame(_typing: Any, _frame: Any, _place: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            frame, place = arguments
            numbers = builder.inttoptr(frame, ir.IntType(64).as_pointer())
            first = builder.mul(place, ir.Constant(ir.IntType(64), places.NUMBERS))
            address, *shape = (
                builder.load(builder.gep(numbers, [builder.add(first, ir.Constant(ir.IntType(64), offset))]))
                for offset in range(dimensions + 1)
            )
            array = context.make_array(array_type)(context, builder)
            size = ir.Constant(ir.IntType(64), np.dtype(dtype).itemsize)
            strides = [size] if dimensions == 1 else [builder.mul(shape[1], size), size]
            populate_array(
                array,
                data=builder.inttoptr(address, array.data.type),
                shape=shape,
                strides=strides,
                itemsize=size,
                meminfo=None,
            )
            return array._getvalue()

        return array_type(WORD, WORD), generate

    return array_in_frame


floats_at = _array_in_frame(np.float64, 1)
prices_at = _array_in_frame(np.float64, 2)
integers_at = _array_in_frame(np.int64, 1)
_orders = _array_in_frame(layouts.ORDER, 1)
_lots = _array_in_frame(layouts.LOT, 1)
_fills = _array_in_frame(layouts.FILL, 1)
_trades = _array_in_frame(layouts.TRADE, 1)
_rules = _array_in_frame(layouts.RULES, 1)
_turns = _array_in_frame(layouts.TURN, 1)


@intrinsic(prefer_literal=True)
def scratch_floats(_typing: Any, size: Any) -> Any:
    """Room for a literal number of floats until the calling function returns; it holds anything."""
    array_type, count = nt.Array(nt.float64, 1, "C"), size.literal_value

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        array = context.make_array(array_type)(context, builder)
        word = ir.IntType(64)
        populate_array(
            array,
            data=cgutils.alloca_once(builder, ir.DoubleType(), size=count),
            shape=[ir.Constant(word, count)],
            strides=[ir.Constant(word, 8)],
            itemsize=ir.Constant(word, 8),
            meminfo=None,
        )
        return array._getvalue()

    return array_type(size), generate


@intrinsic(prefer_literal=True)
def scratch_prices(_typing: Any, size: Any) -> Any:
    """Room for one row of a literal number of prices, likewise."""
    array_type, count = nt.Array(nt.float64, 2, "C"), size.literal_value

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        array = context.make_array(array_type)(context, builder)
        word = ir.IntType(64)
        populate_array(
            array,
            data=cgutils.alloca_once(builder, ir.DoubleType(), size=count),
            shape=[ir.Constant(word, 1), ir.Constant(word, count)],
            strides=[ir.Constant(word, 8 * count), ir.Constant(word, 8)],
            itemsize=ir.Constant(word, 8),
            meminfo=None,
        )
        return array._getvalue()

    return array_type(size), generate


def run_entry(on_bar: Any = None) -> Any:
    """``kernel.run``: returns the bars done times ``REASONS``, plus why it returned.

    ``on_bar``: compiled into it, not called by address. What numba keeps on disk of a function knows nothing of a
    function that it is given, so this one is compiled every time; the entry is what is kept.
    """
    run = kernel.run
    if on_bar is not None:
        run = nb.njit(error_model="numpy", nogil=True)(getattr(kernel.run, "py_func"))  # noqa: B009 - a Compiled

    def entry(start: int, stop: int, returns: int, wanted_start: int, frame: int) -> int:
        done, reason = run(
            start,
            stop,
            returns,
            floats_at(frame, places.WAKE_PRICES),
            integers_at(frame, places.WAKE_COUNTS),
            integers_at(frame, places.TIMESTAMP),
            prices_at(frame, places.OPEN),
            prices_at(frame, places.HIGH),
            prices_at(frame, places.LOW),
            prices_at(frame, places.CLOSE),
            prices_at(frame, places.WANTED),
            wanted_start,
            _rules(frame, places.RULES),
            floats_at(frame, places.MONEY),
            integers_at(frame, places.COUNTS),
            floats_at(frame, places.POSITION),
            _orders(frame, places.ORDERS),
            _lots(frame, places.LOTS),
            _fills(frame, places.FILLS),
            _trades(frame, places.TRADES),
            floats_at(frame, places.EQUITY_MARKS),
            floats_at(frame, places.CASH_MARKS),
            prices_at(frame, places.POSITION_MARKS),
            prices_at(frame, places.VOLUME),
            floats_at(frame, places.PARAMETERS),
            floats_at(frame, places.MEMORY),
            floats_at(frame, places.FAULT),
            _turns(frame, places.TURNS),
            on_bar,
        )
        return done * REASONS + reason

    return _entry(entry, 5)


def run_scheduled_entry() -> Any:
    """``kernel.run_scheduled``: returns the bars done times ``SCHEDULED_ROOM``, plus the orders in line."""
    run_scheduled = kernel.run_scheduled

    def entry(start: int, place: int, frame: int) -> int:
        done, placed = run_scheduled(
            start,
            place,
            integers_at(frame, places.ORDER_IDS),
            floats_at(frame, places.QUANTITIES),
            integers_at(frame, places.SUBMITTED_BARS),
            integers_at(frame, places.SYMBOLS),
            floats_at(frame, places.WAKE_PRICES),
            integers_at(frame, places.WAKE_COUNTS),
            integers_at(frame, places.TIMESTAMP),
            prices_at(frame, places.OPEN),
            prices_at(frame, places.HIGH),
            prices_at(frame, places.LOW),
            prices_at(frame, places.CLOSE),
            prices_at(frame, places.WANTED),
            _rules(frame, places.RULES),
            floats_at(frame, places.MONEY),
            integers_at(frame, places.COUNTS),
            floats_at(frame, places.POSITION),
            _orders(frame, places.ORDERS),
            _lots(frame, places.LOTS),
            _fills(frame, places.FILLS),
            _trades(frame, places.TRADES),
            floats_at(frame, places.EQUITY_MARKS),
            floats_at(frame, places.CASH_MARKS),
            prices_at(frame, places.POSITION_MARKS),
        )
        return done * SCHEDULED_ROOM + placed

    return _entry(entry, 3)


def signals_entry(signals: Any) -> Any:
    """A strategy's wanted positions for some bars."""

    def entry(start: int, stop: int, frame: int) -> int:
        signals(
            start,
            stop,
            integers_at(frame, places.TIMESTAMP),
            prices_at(frame, places.OPEN),
            prices_at(frame, places.HIGH),
            prices_at(frame, places.LOW),
            prices_at(frame, places.CLOSE),
            prices_at(frame, places.VOLUME),
            floats_at(frame, places.PARAMETERS),
            floats_at(frame, places.MEMORY),
            prices_at(frame, places.WANTED),
        )
        return 0

    return _entry(entry, 3)


def numbers_entry(function: Any) -> Any:
    """A function of two arrays of floats, one of whole numbers, and one of numbers given and found."""

    def entry(frame: int) -> int:
        function(floats_at(frame, 0), floats_at(frame, 1), integers_at(frame, 2), floats_at(frame, 3))
        return 0

    return _entry(entry, 1)


def _entry(function: Any, arguments: int) -> Any:
    return nb.cfunc(WORD(*[WORD] * arguments), error_model="numpy")(function)
