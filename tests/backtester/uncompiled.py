"""The engine's rules in plain Python, an expression at a time: to see which of them a run needs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine import frame as places
from milepost_backtester.engine import kernel
from milepost_backtester.engine.book import BAR_PLACES, Book
from milepost_backtester.engine.compiled import Compiled
from milepost_backtester.engine.layouts import GROW

MARKS = (places.EQUITY_MARKS, places.CASH_MARKS, places.POSITION_MARKS)
Part = tuple[int, int, int]
"""A line, and from where to where in it."""
TABLES = (places.ORDERS, places.LOTS, places.FILLS, places.TRADES)
ACCOUNT = (places.MONEY, places.COUNTS, places.POSITION)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Have every book run the kernel as it is written, on the same arrays."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):
        patch.setattr(Compiled, "__call__", lambda self, *given, **named: self.py_func(*given, **named))
        patch.setattr(Book, "_run", _run)
        yield


def _run(
    self: Book,
    tables: Any,
    stop: int,
    wishes: Any,
    returns: int,
    *,
    call: Any = None,
    room: int = 0,
) -> tuple[int, int]:
    start = first = self.done
    while True:
        arrays = self._frame_of(tables, wishes)._arrays
        # Columns of a record are attributes in compiled code; in numpy those of a record array are.
        records = {place: arrays[place].view(np.recarray) for place in (*TABLES, places.RULES)}
        start, reason = kernel.run(
            start, stop, returns, arrays[places.WAKE_PRICES], arrays[places.WAKE_COUNTS],
            *(arrays[place] for place in BAR_PLACES), wishes, first, records[places.RULES],
            *(arrays[place] for place in ACCOUNT), *(records[place] for place in TABLES),
            *(arrays[place] for place in MARKS), None, None, None, None, None, None,
        )  # fmt: skip
        if reason != GROW:
            return start, reason
        self._grow(tables, room)


def parts_of(module: Any) -> set[Part]:
    """The expressions of a module's compiled functions."""
    codes = [each.py_func.__code__ for each in vars(module).values() if isinstance(each, Compiled)]
    own = [code for code in codes if code.co_filename == module.__file__]
    return {
        (line, column, end)
        for code in own
        for line, _, column, end in code.co_positions()
        # Before the first line of the body a function only begins.
        if line is not None
        and column is not None
        and end is not None
        and line > code.co_firstlineno
        and end > column
    }


@contextmanager
def parts_done(modules: tuple[Any, ...]) -> Iterator[dict[str, set[Part]]]:
    """Write down the expressions of these modules' files that are evaluated."""
    places: dict[str, set[tuple[CodeType, int]]] = {module.__file__: set() for module in modules}
    found: dict[str, set[Part]] = {}

    def watch(frame: FrameType, event: str, _argument: Any) -> Any:
        own = places.get(frame.f_code.co_filename)
        if own is None:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            own.add((frame.f_code, frame.f_lasti))
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield found
    finally:
        sys.settrace(before)
        for name, own in places.items():
            found[name] = {_part(code, place) for code, place in own}


def _part(code: CodeType, place: int) -> Any:
    line, _, column, end = next(islice(code.co_positions(), place // 2, None))
    return line, column, end
