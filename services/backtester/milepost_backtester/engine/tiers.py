"""Three ways to call a strategy, one for each speed; the broker's rules are the same.

Each drives a book from the bars that are done to those asked for and remembers nothing between two bars but the
strategy's state.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from milepost_backtester.engine.bars import CHUNK_BARS, Bar, BarRow, Bars, row_of, rows_of
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.records import State
from milepost_backtester.engine.strategy import CompiledRule, Strategy, WakingStrategy
from milepost_backtester.engine.wishes import Wishes


class TierRun(Protocol):
    """Drives a book."""

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return the strategy's state."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Put the strategy's state back."""
        ...


class CompiledRun:
    """Wanted positions for a chunk of bars by compiled code, then the book trades them."""

    __slots__ = ("_book", "_rule", "_wishes")

    def __init__(self, book: Book, bars: Bars, rule: CompiledRule) -> None:
        self._book = book
        self._rule = rule
        self._wishes = Wishes(bars, rule)

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book = self._book
        while book.done < stop:
            end = min(book.done + CHUNK_BARS, stop)
            book.pursue_to(end, self._wishes.of(book.done, end))

    def state_dict(self) -> Mapping[str, Any]:
        """Return the rule's memory."""
        return {"memory": self._rule.memory.tolist()}

    def load_state_dict(self, state: State) -> None:
        """Put the rule's memory back."""
        if len(state["memory"]) != len(self._rule.memory):
            raise StateError(
                f"the rule remembers {len(self._rule.memory)} numbers, not {len(state['memory'])}"
            )
        self._rule.memory[:] = state["memory"]


class WakeRun:
    """The book goes on by itself until a bar that the strategy asked for."""

    __slots__ = ("_bar", "_bars", "_book", "_broker", "_strategy", "_waking")

    def __init__(
        self, book: Book, bars: Bars, broker: Broker, bar: Bar, strategy: Strategy, waking: WakingStrategy
    ) -> None:
        self._book = book
        self._bars = bars
        self._broker = broker
        self._bar = bar
        self._strategy = strategy
        self._waking = waking

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book, broker, bar = self._book, self._broker, self._bar
        while book.done < stop:
            if not book.run_until_wanted(stop, self._waking.wake_when()):
                return
            row = row_of(self._bars, book.done - 1)
            bar.index, bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume = row
            broker.refresh()
            self._strategy.on_bar(bar, broker)
            broker.hand_over()

    def state_dict(self) -> Mapping[str, Any]:
        """Return the strategy's state."""
        return self._strategy.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Put the strategy's state back."""
        self._strategy.load_state_dict(state)


class PythonRun:
    """The strategy sees every bar; the book is called when something can change.

    While nothing waits, decisions run ahead and the marks follow later, all at once; market orders too, where
    nothing can refuse them, for the position that follows is known. Beside waiting orders the book looks ahead for
    the next bar at which one acts.
    """

    __slots__ = ("_bar", "_bars", "_book", "_broker", "_rows", "_rows_next", "_rows_stop", "_strategy")

    def __init__(self, book: Book, bars: Bars, broker: Broker, bar: Bar, strategy: Strategy) -> None:
        self._book = book
        self._bars = bars
        self._broker = broker
        self._bar = bar
        self._strategy = strategy
        self._rows: Iterator[BarRow] = iter(())
        self._rows_next = self._rows_stop = 0

    def state_dict(self) -> Mapping[str, Any]:
        """Return the strategy's state."""
        return self._strategy.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Put the strategy's state back."""
        self._strategy.load_state_dict(state)
        self._rows_next = self._rows_stop = 0

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book, broker = self._book, self._broker
        index = book.done
        while index < stop:
            if broker.acts_next:
                broker.acts_next = False
                book.run_to(index + 1)
                broker.refresh()
                index = self._decide(index, index + 1)
            elif book.is_calm:
                index = self._decide(index, stop, certain=book.fills_for_certain)
            else:
                index = self._decide_beside_orders(index, stop)
            broker.hand_over()
        book.run_to(stop)
        broker.see_what_acts_next()

    def _decide_beside_orders(self, index: int, stop: int) -> int:
        """Let the strategy decide up to the next bar at which something fills, expires or is called."""
        book, broker = self._book, self._broker
        book.run_to(index)
        event = book.ahead(stop)
        quiet = stop if event is None else event
        if index < quiet:
            broker.refresh(marks=book.charges)
            index = self._decide(index, quiet)
        if broker.decided or broker.cancelled:
            book.run_to(index)
            broker.hand_over()
            broker.refresh()
            return index
        book.adopt()
        broker.refresh()
        return index if event is None else self._decide(event, event + 1)

    def _decide(self, start: int, stop: int, *, certain: bool = False) -> int:
        """Show bars to the strategy until it orders or cancels; return the bar after the last one.

        ``certain``: market orders fill at the next open and nothing else happens, so that the strategy can go on.

        The hot loop: one bar object, rows converted in chunks, the rows go on where the last call ended.
        """
        bar, broker, on_bar = self._bar, self._broker, self._strategy.on_bar
        decided, cancelled = broker.decided, broker.cancelled
        while start < stop:
            rows = self._rows_at(start)
            part = min(stop, self._rows_stop) - start
            for (
                bar.index,
                bar.timestamp,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
            ) in islice(rows, part):
                on_bar(bar, broker)
                if (decided or cancelled) and not (certain and broker.schedule()):
                    self._rows_next = bar.index + 1
                    return self._rows_next
            start = self._rows_next = start + part
        return stop

    def _rows_at(self, start: int) -> Iterator[BarRow]:
        if start != self._rows_next or start >= self._rows_stop:
            self._rows_stop = min(start + CHUNK_BARS, len(self._bars))
            self._rows = rows_of(self._bars, start, self._rows_stop)
            self._rows_next = start
        return self._rows
