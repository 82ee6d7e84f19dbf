"""How a strategy of several symbols is called: compiled, for many bars at once, or in Python at every time.

As with one symbol, each drives a book and remembers nothing between two bars but the strategy's state.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from milepost_backtester.engine.acting import ActingRun
from milepost_backtester.engine.bars import Bar, BarRow, Bars, Floats, rows_of
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_broker import PortfolioBroker
from milepost_backtester.engine.portfolio_strategy import (
    ActingPortfolioStrategy,
    EachSymbol,
    PortfolioStrategy,
)
from milepost_backtester.engine.records import State
from milepost_backtester.engine.strategy import ActingRule, CompiledRule, CompiledStrategy, Tier, owner
from milepost_backtester.engine.tiers import TierRun
from milepost_backtester.engine.turns import TurnsRun, put_back
from milepost_backtester.engine.wishes import Wishes

CHUNK_VALUES = 1 << 16
"""Bars of all symbols together that are converted, or decided on, at once."""


def fastest_portfolio_tier(strategy: PortfolioStrategy) -> Tier:
    """Return the fastest way that a strategy of several symbols offers."""
    if isinstance(strategy, EachSymbol):
        return strategy.tier
    for kind, method in ((CompiledStrategy, "compiled_rule"), (ActingPortfolioStrategy, "acting_rule")):
        if isinstance(strategy, kind) and owner(strategy, method) <= owner(strategy, "on_bars"):
            return "compiled"
    return "python"


def portfolio_run(
    book: Book,
    bars: PortfolioBars,
    broker: PortfolioBroker,
    moment: Bar,
    strategy: PortfolioStrategy,
    tier: Tier,
) -> TierRun:
    """Return what drives the book.

    Raises:
        ValueError: the strategy does not offer that tier, or is for other symbols.
    """
    if isinstance(strategy, EachSymbol) and strategy.strategies.keys() != set(bars.symbols):
        wanted, found = ", ".join(bars.symbols), ", ".join(strategy.strategies)
        raise ValueError(f"give a strategy for each of {wanted}, not for {found}")
    match tier:
        case "compiled" if isinstance(strategy, EachSymbol):
            return _run_of_each(book, bars, moment, strategy)
        case "compiled" if isinstance(strategy, CompiledStrategy):
            rule = strategy.compiled_rule()
            if not isinstance(rule, CompiledRule):
                raise ValueError("tier: of several symbols an on_bars is compiled by acting_rule(symbols)")  # noqa: TRY004
            return TogetherCompiledRun(book, bars, rule)
        case "compiled" if isinstance(strategy, ActingPortfolioStrategy):
            return ActingRun(book, bars, moment, strategy.acting_rule(bars.symbols))
        case "python":
            return PortfolioRun(book, bars, broker, moment, strategy)
        case _:
            fastest = fastest_portfolio_tier(strategy)
            raise ValueError(
                f"tier: the strategy offers no {tier!r} for several symbols; there is {fastest!r}"
            )


def _run_of_each(book: Book, bars: PortfolioBars, moment: Bar, strategy: EachSymbol) -> TierRun:
    rules = strategy.compiled_rules()
    acting = {name: rule for name, rule in rules.items() if isinstance(rule, ActingRule)}
    if acting:
        return TurnsRun(book, bars, moment, acting)
    wanting = {name: rule for name, rule in rules.items() if isinstance(rule, CompiledRule)}
    return EachCompiledRun(book, bars, [wanting[name] for name in bars.symbols])


class EachCompiledRun:
    """A compiled rule for each symbol, over that symbol's own bars; the book trades what they want together."""

    __slots__ = ("_bars", "_book", "_rules", "_wishes")

    def __init__(self, book: Book, bars: PortfolioBars, rules: list[CompiledRule]) -> None:
        self._book = book
        self._bars = bars
        self._rules = rules
        self._wishes = [Wishes(part, rule) for part, rule in zip(bars.own, rules, strict=True)]

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book, symbols = self._book, len(self._rules)
        chunk = max(1, CHUNK_VALUES // symbols)
        while book.done < stop:
            start, end = book.done, min(book.done + chunk, stop)
            wanted: Floats = np.full((symbols, end - start), np.nan)
            for symbol in range(symbols):
                self._ask(symbol, start, end, wanted[symbol])
            book.pursue_to(end, wanted)

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the rules remember, one after the other."""
        return {"memory": [value for rule in self._rules for value in rule.memory.tolist()]}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        put_back(state, [rule.memory for rule in self._rules])

    def _ask(self, symbol: int, start: int, end: int, wanted: Floats) -> None:
        """Fill in what the rule of a symbol wants at the times at which it has bars."""
        places = self._bars.places[symbol]
        first, last = np.searchsorted(places, (start, end)).tolist()
        if first < last:
            wanted[places[first:last] - start] = self._wishes[symbol].of(first, last)[0]


class TogetherCompiledRun:
    """One compiled rule that sees all symbols on the common timeline."""

    __slots__ = ("_bars", "_book", "_rule")

    def __init__(self, book: Book, bars: PortfolioBars, rule: CompiledRule) -> None:
        self._book = book
        self._bars = bars
        self._rule = rule

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book, rule, bars = self._book, self._rule, self._bars
        chunk = max(1, CHUNK_VALUES // len(bars.symbols))
        columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
        while book.done < stop:
            start, end = book.done, min(book.done + chunk, stop)
            wanted: Floats = np.empty((len(bars.symbols), end - start))
            rule.signals(start, end, *columns, rule.parameters, rule.memory, wanted)
            # What has no bar yet has no price to be wanted at.
            wanted[bars.close[:, start:end] == 0] = np.nan
            book.pursue_to(end, wanted)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the rule's memory."""
        return {"memory": self._rule.memory.tolist()}

    def load_state_dict(self, state: State) -> None:
        """Put the rule's memory back."""
        put_back(state, [self._rule.memory])


class PortfolioRun:
    """The strategy sees every time; the book is called when an order waits or something is charged."""

    __slots__ = ("_all", "_bars", "_book", "_broker", "_moment", "_shown", "_strategy")

    def __init__(
        self,
        book: Book,
        bars: PortfolioBars,
        broker: PortfolioBroker,
        moment: Bar,
        strategy: PortfolioStrategy,
    ) -> None:
        self._book = book
        self._bars = bars
        self._broker = broker
        self._moment = moment
        self._strategy = strategy
        self._all = tuple(Bar() for _ in bars.symbols)
        self._shown: dict[str, Bar] = {}

    def state_dict(self) -> Mapping[str, Any]:
        """Return the strategy's state."""
        return self._strategy.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Put the strategy's state back."""
        self._strategy.load_state_dict(state)

    def run(self, stop: int) -> None:
        """Do bars until ``stop`` of them are done."""
        book, desk, moment = self._book, self._broker.desk, self._moment
        for index, timestamp, rows in self._times(book.done, stop):
            moment.index, moment.timestamp = index, timestamp
            if not book.is_calm:
                book.run_to(index + 1)
                desk.refresh()
            self._show(index, rows)
            self._strategy.on_bars(self._shown, self._broker)
            if desk.decided or desk.cancelled:
                book.run_to(index + 1)
                desk.hand_over()
        book.run_to(stop)

    def _show(self, index: int, rows: list[BarRow | None]) -> None:
        """Fill the bars of this time."""
        shown = self._shown
        shown.clear()
        for name, bar, row in zip(self._bars.symbols, self._all, rows, strict=True):
            if row is not None:
                _, bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume = row
                bar.index = index
                shown[name] = bar

    def _times(self, start: int, stop: int) -> Iterator[tuple[int, int, list[BarRow | None]]]:
        """Go through the timeline: place, time and the bar of each symbol, None where it has none."""
        bars = self._bars
        chunk = max(1, CHUNK_VALUES // len(bars.symbols))
        while start < stop:
            end = min(start + chunk, stop)
            table = [
                _rows_between(part, places, start, end)
                for part, places in zip(bars.own, bars.places, strict=True)
            ]
            times = bars.timestamp[start:end].tolist()
            for offset, (timestamp, *rows) in enumerate(zip(times, *table, strict=True)):
                yield start + offset, timestamp, rows
            start = end


def _rows_between(bars: Bars, places: Any, start: int, end: int) -> list[BarRow | None]:
    """Return a symbol's bars on a part of the timeline."""
    first, last = np.searchsorted(places, (start, end)).tolist()
    rows: list[BarRow | None] = [None] * (end - start)
    for place, row in zip(places[first:last].tolist(), rows_of(bars, first, last), strict=True):
        rows[place - start] = row
    return rows
