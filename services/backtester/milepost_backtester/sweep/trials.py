"""One combination over one window of bars, by the same engine that does a single backtest.

A run can be told to stop between two chunks of bars; nothing of it is kept then. Chunks are as long as what the
last one took says, so that a slow strategy hears of it soon; where they end changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from milepost_runtime.bridge.pace import ChunkSize
from milepost_runtime.clock import Clock

from milepost_backtester.engine.backtesting_engine import BacktestingEngine, EquityCurve
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import PortfolioStrategy
from milepost_backtester.engine.records import Logs
from milepost_backtester.engine.strategy import Strategy, Tier
from milepost_backtester.engine.terms import Terms
from milepost_backtester.statistics import compute_statistics
from milepost_backtester.statistics.figures import Statistics
from milepost_backtester.statistics.market import Market, market_of
from milepost_backtester.sweep.memory import keep_freed_memory
from milepost_backtester.sweep.plan import Fold

Parameters = Mapping[str, Any]
StopAsked = Callable[[], bool]
MakeStrategy = Callable[[Parameters, Any], Strategy | PortfolioStrategy]


class StoppedWithinError(Exception):
    """The run was told to stop before its last bar; it has to be done again."""


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """What a combination did in a test window."""

    statistics: Statistics
    logs: Logs
    """Of the window; bars are numbered as in all bars."""


class Trials:
    """Runs combinations; used by several threads at once."""

    def __init__(
        self,
        bars: Bars | PortfolioBars,
        make_strategy: MakeStrategy,
        *,
        initial_cash: float,
        terms: Terms,
        tier: Tier,
        clock: Clock,
    ) -> None:
        """``make_strategy``: from parameters and the bars that the strategy will see.

        Bars of several symbols are run as a whole; only those of one can be cut into windows and traded forward.
        """
        keep_freed_memory()
        self._bars = bars
        self._make_strategy = make_strategy
        self._initial_cash = initial_cash
        self._terms = terms
        self._tier: Tier = tier
        self._clock = clock
        self._chunk_bars = 1
        """What the last run had come to; the next one begins with it."""

    @property
    def bars(self) -> Bars | PortfolioBars:
        """All bars."""
        return self._bars

    def market(self, start: int, stop: int) -> Market:
        """Return what a window says without any run."""
        window = self._window(start, stop)
        return market_of(window.timestamp, window.close)

    def run(
        self, parameters: Parameters, start: int, stop: int, market: Market, stop_asked: StopAsked
    ) -> Statistics:
        """Return the figures of a combination over the bars from ``start`` to before ``stop``.

        Raises:
            StoppedWithinError: ``stop_asked`` said so before the end.
        """
        window = self._window(start, stop)
        engine = self._engine(window, parameters, self._initial_cash)
        self._advance(engine, len(window), stop_asked)
        return self._figures(engine, engine.logs, window, self._initial_cash, market)

    def trade(self, parameters: Parameters, fold: Fold, cash: float, stop_asked: StopAsked) -> Forward:
        """Trade a fold's test window with ``cash`` and end without a position.

        The strategy goes over the bars before the window first, so that its indicators are as they would be, in an
        account that is then put aside with its orders. At the close of the last bar but one everything that waits
        is cancelled and what is held is sold at the next open.

        Raises:
            StoppedWithinError: as for ``run``.
        """
        if not isinstance(self._bars, Bars):
            raise TypeError("several symbols are not traded forward")
        window = window_of(self._bars, fold.train_start, fold.test_stop)
        first = fold.test_start - fold.train_start
        engine = self._warmed_up(window, parameters, first, cash, stop_asked)
        self._advance(engine, len(window) - 1, stop_asked)
        close_out(engine)
        self._advance(engine, len(window), stop_asked)
        logs = _cut(engine.logs, first)
        tested = window_of(window, first, len(window))
        market = market_of(tested.timestamp, tested.close)
        statistics = self._figures(engine, logs, tested, cash, market)
        return Forward(statistics, _shifted(logs, fold.train_start))

    def _warmed_up(
        self, window: Bars, parameters: Parameters, first: int, cash: float, stop_asked: StopAsked
    ) -> BacktestingEngine:
        """Return an engine with a fresh account whose strategy has seen the first bars."""
        before = self._engine(window, parameters, self._initial_cash)
        self._advance(before, first, stop_asked)
        seen = before.state_dict()
        engine = self._engine(window, parameters, cash)
        # Ids go on: a strategy may remember those of its orders.
        kept = {name: seen[name] for name in ("bar_index", "next_order_id", "strategy")}
        engine.load_state_dict({**engine.state_dict(), **kept}, before.logs)
        return engine

    def _window(self, start: int, stop: int) -> Bars | PortfolioBars:
        if isinstance(self._bars, Bars):
            return window_of(self._bars, start, stop)
        if (start, stop) != (0, len(self._bars)):
            raise ValueError("several symbols are run as a whole")
        return self._bars

    def _figures(
        self,
        engine: BacktestingEngine,
        logs: Logs,
        window: Bars | PortfolioBars,
        cash: float,
        market: Market,
    ) -> Statistics:
        return compute_statistics(
            EquityCurve(window.timestamp, logs.equity, logs.cash, logs.position),
            logs.fills,
            logs.trades,
            initial_cash=cash,
            orders_waiting=len(engine.waiting),
            market=market,
            outcome=engine.outcome,
        )

    def _engine(self, window: Bars | PortfolioBars, parameters: Parameters, cash: float) -> BacktestingEngine:
        return BacktestingEngine(
            window,
            self._make_strategy(parameters, window),
            initial_cash=cash,
            terms=self._terms,
            tier=self._tier,
        )

    def _advance(self, engine: BacktestingEngine, stop: int, stop_asked: StopAsked) -> None:
        chunk = ChunkSize(self._clock, None)
        chunk.units = self._chunk_bars
        while engine.bar_index < stop:
            if stop_asked():
                raise StoppedWithinError
            chunk.begin(engine.bar_index)
            engine.advance(min(engine.bar_index + chunk.units, stop))
            chunk.finish(engine.bar_index)
        self._chunk_bars = chunk.units


def window_of(bars: Bars, start: int, stop: int) -> Bars:
    """Return some bars as bars of their own; nothing is copied."""
    part = slice(start, stop)
    return Bars(
        bars.timestamp[part],
        bars.open[part],
        bars.high[part],
        bars.low[part],
        bars.close[part],
        bars.volume[part],
    )


def close_out(engine: BacktestingEngine) -> None:
    """At the close of the newest bar: take back what waits and sell what is held at the next open."""
    # The broker stands at the newest bar only where the strategy is called for each one.
    engine.load_state_dict(engine.state_dict())
    broker = engine.broker
    if not isinstance(broker, Broker):
        raise TypeError("a sweep trades one symbol")
    for order in broker.waiting:
        broker.cancel(order.order_id)
    broker.target(0.0)
    broker.hand_over()


def _cut(logs: Logs, first: int) -> Logs:
    """Return copies of the logs from a bar on; fills and trades are of later bars already."""
    copied = logs.copy()
    return Logs(
        copied.equity[first:], copied.cash[first:], copied.position[first:], copied.fills, copied.trades
    )


def _shifted(logs: Logs, bars: int) -> Logs:
    """Number the bars of fills and trades as in all bars."""
    for rows, names in ((logs.fills, ("submitted_bar", "bar")), (logs.trades, ("entry_bar", "exit_bar"))):
        for name in names:
            rows[name] += bars
    return logs
