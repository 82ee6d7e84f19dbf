"""The engine: one bar at a time, an ordinary object.

Each bar: waiting orders fill at its open; the excursions of open lots take in its high and low; equity is marked
at its close; the strategy sees it and gives orders for the next open. A bar is done when all of that is done.

States: at a boundary (``bar_index`` bars are done) -> inside a bar -> at the next boundary. When the strategy
raises inside a bar the engine is torn: it goes on only after ``load_state_dict`` with the state of a boundary.
Where ``advance`` stops changes nothing in the results.
"""

import marshal
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from milepost_backtester.engine.account import COUNTED, Outcome
from milepost_backtester.engine.acting import ActingRun
from milepost_backtester.engine.bars import Bar, Bars, Floats, Integers
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.errors import StateError, TornBarError
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_broker import PortfolioBroker
from milepost_backtester.engine.portfolio_strategy import PortfolioStrategy
from milepost_backtester.engine.portfolio_tiers import fastest_portfolio_tier, portfolio_run
from milepost_backtester.engine.records import (
    Fill,
    Logs,
    Order,
    RoundTrip,
    State,
    fills_of,
    orders_of,
    round_trips_of,
)
from milepost_backtester.engine.strategy import (
    ActingRule,
    ActingStrategy,
    CompiledStrategy,
    Strategy,
    Tier,
    WakingStrategy,
    fastest_tier,
)
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.tiers import CompiledRun, PythonRun, TierRun, WakeRun

ENGINE_VERSION = "3"
"""Raised with every change that can change a result."""
STATE_SCHEMA_VERSION = "5"
"""Raised with every change of the state's fields, or of the logs beside it."""

STATE_FIELDS = frozenset(
    {"bar_index", "cash", "borrow_cost", "position", *COUNTED, "lots", "waiting", "strategy"}
)


@dataclass(frozen=True, slots=True, eq=False)
class EquityCurve:
    """The account at the close of each bar done; arrays of equal length."""

    timestamp: Integers
    equity: Floats
    cash: Floats
    position: Floats
    """Units held: (bars,), of several symbols (symbols, bars)."""


class BacktestingEngine:
    """Runs a strategy over bars, of one symbol or of several on one account."""

    def __init__(
        self,
        bars: Bars | PortfolioBars,
        strategy: Strategy | PortfolioStrategy,
        *,
        initial_cash: float = 100_000.0,
        commission_rate: float = 0.0,
        terms: Terms | None = None,
        tier: Tier | Literal["auto"] = "auto",
        warm_up_bars: int = 0,
    ) -> None:
        """``terms`` says more about costs and borrowing than ``commission_rate``, which stands alone.

        ``PortfolioBars`` need a ``PortfolioStrategy``; ``EachSymbol`` makes one of strategies of a single symbol.
        ``tier``: how the strategy is called; ``auto`` is the fastest way that it offers. ``warm_up_bars``: at so
        many bars the strategy sees what there is to see, and its orders are not accepted.
        """
        if not (isfinite(initial_cash) and initial_cash > 0):
            raise ValueError(f"initial_cash must be a positive number, not {initial_cash!r}")
        if terms is not None and commission_rate:
            raise ValueError("commission_rate must be in the terms when there are some")
        if not 0 <= warm_up_bars < len(bars):
            raise ValueError(f"warm_up_bars must leave a bar to trade: {warm_up_bars} of {len(bars)}")
        self._bars = bars
        self.warm_up_bars = warm_up_bars
        """At how many bars no orders are accepted; they are in the curve, and not in what is made of it."""
        self._book = Book(
            bars, terms or Terms(commission_rate=commission_rate), initial_cash, orders_from=warm_up_bars
        )
        self._bar = Bar()
        self._bar.index = -1
        self._broker: Broker | PortfolioBroker
        match bars, strategy:
            case PortfolioBars(), PortfolioStrategy():
                self._broker = PortfolioBroker(self._book, self._bar, bars)
                self._desk: Broker = self._broker.desk
                self.tier: Tier = fastest_portfolio_tier(strategy) if tier == "auto" else tier
                """How the strategy is called."""
                self._tier_run: TierRun = portfolio_run(
                    self._book, bars, self._broker, self._bar, strategy, self.tier
                )
            case Bars(), Strategy():
                self._broker = self._desk = Broker(self._book, self._bar)
                self.tier = fastest_tier(strategy) if tier == "auto" else tier
                self._tier_run = self._run_of(bars, strategy, self.tier)
            case _:
                raise ValueError("a strategy with on_bar needs Bars, one with on_bars needs PortfolioBars")
        self._bar_index = 0
        self._torn = False

    @property
    def bar_index(self) -> int:
        """How many bars are done."""
        return self._bar_index

    @property
    def total_bars(self) -> int:
        """How many bars there are."""
        return len(self._bars)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols of a portfolio; a single symbol has none."""
        return self._bars.symbols if isinstance(self._bars, PortfolioBars) else ()

    @property
    def closes(self) -> Floats:
        """Closes that the account is marked at: (bars,), of several symbols (symbols, bars)."""
        return self._bars.close

    @property
    def borrows(self) -> bool:
        """Whether shorts pay, so that cash may change at any bar; otherwise only fills change it."""
        return self._book.borrows

    @property
    def logs(self) -> Logs:
        """The append-only logs themselves; rows of the bars done do not change any more."""
        return self._book.logs(self._bar_index)

    @property
    def trades(self) -> list[RoundTrip]:
        """Round trips so far, in the order of their exits."""
        return round_trips_of(self.logs.trades)

    @property
    def fills(self) -> list[Fill]:
        """Fills so far."""
        return fills_of(self.logs.fills)

    @property
    def equity(self) -> Floats:
        """Equity at the close of each bar done."""
        return self.logs.equity.copy()

    @property
    def curve(self) -> EquityCurve:
        """Time, equity, cash and position at the close of each bar done."""
        logs = self.logs.copy()
        return EquityCurve(self._bars.timestamp[: self._bar_index], logs.equity, logs.cash, logs.position)

    @property
    def outcome(self) -> Outcome:
        """What happened beside fills."""
        return self._book.outcome

    @property
    def broker(self) -> Broker | PortfolioBroker:
        """The account as the strategy sees it."""
        return self._broker

    @property
    def waiting(self) -> tuple[Order, ...]:
        """Orders that have not filled; at the end, those that never will."""
        return orders_of(self._book.waiting)

    def step(self) -> None:
        """Do the next bar; nothing when all are done."""
        self.advance(self._bar_index + 1)

    def advance(self, until: int | None = None) -> int:
        """Do bars until ``until`` of them are done (default: all) and return how many are.

        Raises:
            TornBarError: the strategy failed inside a bar before; load a state first.
        """
        if self._torn:
            raise TornBarError(f"after bar {self._bar_index}")
        stop = len(self._bars) if until is None else min(until, len(self._bars))
        start = self._bar_index
        stop = max(start, stop)
        try:
            self._tier_run.run(stop)
            self._bar_index = stop
            self._show_last_bar()
            self._desk.refresh()
        except BaseException:
            self._torn = True
            # Compiled code that failed has shown nobody the bar.
            self._bar_index = max(start, self._bar.index)
            raise
        return self._bar_index

    def state_dict(self) -> State:
        """Return a copy of everything that the next bars depend on; the logs by their lengths.

        Raises:
            TornBarError: the strategy failed inside a bar; there is no state between two boundaries.
        """
        if self._torn:
            raise TornBarError(f"after bar {self._bar_index}")
        return {
            "bar_index": self._bar_index,
            **self._book.state_dict(),
            "strategy": _copied(self._tier_run.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any], logs: Logs | None = None) -> None:
        """Put a state back and take over ``logs`` (default: the engine's own), cut to the state's lengths.

        Raises:
            StateError: fields are missing or unknown, or the logs are too short.
        """
        missing, unknown = sorted(STATE_FIELDS - state.keys()), sorted(state.keys() - STATE_FIELDS)
        if missing or unknown:
            raise StateError(f"missing: {missing}, unknown: {unknown}")
        bar_index: int = state["bar_index"]
        if not 0 <= bar_index <= len(self._bars):
            raise StateError(f"bar_index {bar_index} of {len(self._bars)} bars")
        self._book.load_state_dict(state, self._book.logs(bar_index) if logs is None else logs, bar_index)
        self._desk.forget()
        self._tier_run.load_state_dict(_copied(state["strategy"]))
        self._bar_index = bar_index
        self._torn = False
        self._show_last_bar()

    def _show_last_bar(self) -> None:
        """Let the broker value the account at the last bar done, which compiled code does not show it."""
        last = self._bar.index = self._bar_index - 1
        if last >= 0 and isinstance(self._bars, Bars):
            self._bar.close = self._bars.close.item(last)

    def _run_of(self, bars: Bars, strategy: Strategy, tier: Tier) -> TierRun:
        match tier:
            case "compiled" if isinstance(strategy, CompiledStrategy):
                rule = strategy.compiled_rule()
                if isinstance(rule, ActingRule):
                    return ActingRun(self._book, bars, self._bar, rule)
                return CompiledRun(self._book, bars, rule)
            case "compiled" if isinstance(strategy, ActingStrategy):
                return ActingRun(self._book, bars, self._bar, strategy.acting_rule())
            case "wake" if isinstance(strategy, WakingStrategy):
                return WakeRun(self._book, bars, self._desk, self._bar, strategy, strategy)
            case "python":
                return PythonRun(self._book, bars, self._desk, self._bar, strategy)
            case _:
                raise ValueError(
                    f"tier: the strategy offers no {tier!r}; the fastest is {fastest_tier(strategy)!r}"
                )


def _copied(state: Mapping[str, Any]) -> State:
    """Copy, because a strategy may hand out its own lists, or keep the ones it is given.

    Twenty times faster than ``copy.deepcopy``, exact, and it refuses whatever is no plain value.
    """
    try:
        return marshal.loads(marshal.dumps(dict(state)))  # noqa: S302 - our own bytes, made on the same line
    except ValueError as error:
        raise StateError("the strategy's state holds something other than plain JSON values") from error
