"""A compiled ``on_bar`` of one symbol applied to each of several: at a time, one after the other has its turn.

Each sees its symbol's own bars, as alone, with parameters and a memory of its own; the account and the line of
orders are those of all. Where its symbol has no bar it is not called.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import numpy as np

from milepost_backtester.engine.acting import ActingRun
from milepost_backtester.engine.bars import Bar, Bars, Floats
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.compiled import Compiled, Primitive, compiled
from milepost_backtester.engine.desk import Desk
from milepost_backtester.engine.errors import CompiledCodeError, StateError
from milepost_backtester.engine.frame import (
    CLOSE,
    HIGH,
    LOW,
    MEMORY,
    OPEN,
    PARAMETERS,
    TIMESTAMP,
    VOLUME,
    Frame,
)
from milepost_backtester.engine.layouts import TURN, BarArrays, Prices, Table
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.records import State
from milepost_backtester.engine.strategy import ActingRule

integers_at = cast("Callable[[int, int], Prices]", Primitive("integers_at"))
floats_at = cast("Callable[[int, int], Floats]", Primitive("floats_at"))
prices_at = cast("Callable[[int, int], Prices]", Primitive("prices_at"))
NOTHING: Floats = np.empty(0)


@cache
def in_turn(on_bar: Compiled) -> Compiled:
    """Return an ``on_bar`` for several symbols that calls one of a single symbol for each that has a bar."""

    def call_each(desk: Desk, parameters: Floats, memory: Floats) -> None:
        for place in range(len(desk.turns)):
            turn = desk.turns[place]
            if np.isnan(desk.bars.open[turn.symbol, desk.bar]):
                continue
            at = turn.frame
            bars = BarArrays(
                integers_at(at, TIMESTAMP),
                prices_at(at, OPEN),
                prices_at(at, HIGH),
                prices_at(at, LOW),
                prices_at(at, CLOSE),
            )
            own = Desk(
                turn.bar, bars, prices_at(at, VOLUME), desk.account, desk.orders_max, desk.fault,
                turn.symbol, desk.moment, desk.closes, desk.turns,
            )  # fmt: skip
            on_bar(own, floats_at(at, PARAMETERS), floats_at(at, MEMORY))
            if desk.fault[0] != 0:
                return
            turn.bar += 1

    # Its machine code is named after the strategy's own function.
    call_each.__name__ = on_bar.py_func.__name__
    return cast("Compiled", compiled(call_each))


class TurnsRun:
    """Drives a book by one compiled ``on_bar`` for each symbol."""

    __slots__ = ("_book", "_frames", "_memories", "_own_places", "_run", "_turns")

    def __init__(self, book: Book, bars: PortfolioBars, moment: Bar, rules: Mapping[str, ActingRule]) -> None:
        """``rules``: of every symbol, with the same function; in the order in which they decide at one time."""
        self._book = book
        symbols = [bars.symbols.index(name) for name in rules]
        self._own_places = [bars.places[symbol] for symbol in symbols]
        self._memories = [rule.memory for rule in rules.values()]
        self._frames = [
            _frame_of(bars.own[symbol], rule) for symbol, rule in zip(symbols, rules.values(), strict=True)
        ]
        self._turns: Table = np.zeros(len(rules), TURN)
        self._turns["symbol"] = symbols
        self._turns["frame"] = [frame.address for frame in self._frames]
        on_bar = next(iter(rules.values())).on_bar
        if not isinstance(on_bar, Compiled):
            raise CompiledCodeError("on_bar must be marked @compiled")
        self._run = ActingRun(book, bars, moment, ActingRule(in_turn(on_bar), NOTHING, NOTHING), self._turns)

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done.

        Raises:
            OrderError: an order is impossible; the bar is not done.
        """
        self._turns["bar"] = [int(np.searchsorted(own, self._book.done)) for own in self._own_places]
        self._run.run(stop)

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the rules remember, one after the other."""
        return {"memory": [value for memory in self._memories for value in memory.tolist()]}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        put_back(state, self._memories)
        self._run.load_state_dict({"memory": []})


def put_back(state: State, memories: list[Floats]) -> None:
    """Put back what several rules remember.

    Raises:
        StateError: it is the state of others.
    """
    values, wanted = state["memory"], sum(len(memory) for memory in memories)
    if len(values) != wanted:
        raise StateError(f"the rules remember {wanted} numbers, not {len(values)}")
    start = 0
    for memory in memories:
        memory[:] = values[start : start + len(memory)]
        start += len(memory)


def _frame_of(bars: Bars, rule: ActingRule) -> Frame:
    frame = Frame()
    for place, column in (
        (OPEN, bars.open),
        (HIGH, bars.high),
        (LOW, bars.low),
        (CLOSE, bars.close),
        (VOLUME, bars.volume),
    ):
        frame.put(place, np.ascontiguousarray(column[np.newaxis]))
    frame.put(TIMESTAMP, np.ascontiguousarray(bars.timestamp))
    frame.put(PARAMETERS, rule.parameters)
    frame.put(MEMORY, rule.memory)
    return frame
