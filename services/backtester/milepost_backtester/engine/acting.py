"""A compiled ``on_bar`` inside the kernel: the fastest way for a strategy that gives orders of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from milepost_backtester.engine import desk
from milepost_backtester.engine import frame as places
from milepost_backtester.engine.bars import CHUNK_BARS, Bar, Bars, Floats
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.compiled import Compiled
from milepost_backtester.engine.errors import CompiledCodeError, OrderError, StateError
from milepost_backtester.engine.layouts import TURN, Table
from milepost_backtester.engine.native import acting_call
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.records import State
from milepost_backtester.engine.strategy import ActingRule

CONDITIONS = (
    "limit",
    "stop",
    "trail",
    "trail_rate",
    "stop_loss",
    "take_profit",
    "stop_trail",
    "stop_trail_rate",
)
"""In the order of ``desk.order``."""
NO_TURNS: Table = np.empty(0, TURN)


class ActingRun:
    """Drives a book by compiled code that decides at each close."""

    __slots__ = ("_bar", "_book", "_call", "_fault", "_rule", "_turns", "_volume")

    def __init__(
        self, book: Book, bars: Bars | PortfolioBars, bar: Bar, rule: ActingRule, turns: Table = NO_TURNS
    ) -> None:
        """``turns``: rows of ``layouts.TURN`` that the rule looks at."""
        self._book = book
        self._bar = bar
        self._rule = rule
        self._turns = turns
        self._volume: Floats = np.ascontiguousarray(np.atleast_2d(bars.volume))
        self._fault: Floats = np.zeros(desk.FAULT_PLACES)
        if not isinstance(rule.on_bar, Compiled):
            raise CompiledCodeError("on_bar must be marked @compiled")
        self._call = acting_call(rule.on_bar)

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done.

        Raises:
            OrderError: an order is impossible; the bar is not done.
        """
        book = self._book
        for place, array in (
            (places.VOLUME, self._volume),
            (places.PARAMETERS, self._rule.parameters),
            (places.MEMORY, self._rule.memory),
            (places.FAULT, self._fault),
            (places.TURNS, self._turns),
        ):
            book.now.frame.put(place, array)
        while book.done < stop:
            if not book.act_to(min(book.done + CHUNK_BARS, stop), self._call):
                self._bar.index = book.done
                raise OrderError(self._words())

    def state_dict(self) -> Mapping[str, Any]:
        """Return the rule's memory."""
        return {"memory": self._rule.memory.tolist()}

    def load_state_dict(self, state: State) -> None:
        """Put the rule's memory back."""
        memory = self._rule.memory
        if len(state["memory"]) != len(memory):
            raise StateError(f"the rule remembers {len(memory)} numbers, not {len(state['memory'])}")
        memory[:] = state["memory"]
        self._fault[:] = 0.0

    def _words(self) -> str:
        kind, number, *values = self._fault.tolist()
        bar = self._bar.index
        if kind == desk.TOO_MANY:
            return f"{desk.ORDERS_WAITING_MAX} orders wait already at bar {bar}"
        if kind == desk.TOO_MANY_AT_ONCE:
            return f"more than {desk.ORDERS_AT_A_BAR_MAX * len(self._book.now.position)} orders at bar {bar}"
        if kind == desk.NO_SYMBOL:
            return f"there is no symbol at place {number:.0f}; there are {len(self._book.now.position)}"
        if kind == desk.NOT_BEGUN:
            return f"the symbol has no bar up to bar {bar}"
        if kind == desk.NOT_WAITING:
            return f"order {number:.0f} does not wait at bar {bar}"
        pairs = zip(CONDITIONS, values, strict=True)
        given = {name: value for name, value in pairs if not np.isnan(value)}
        return f"quantity {number!r} at bar {bar}: {'; '.join(Conditions(**given).faults(number))}"
