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
from typing import Any

import numpy as np

from milepost_backtester.engine.bars import CHUNK_BARS, Bar, BarChunk, Bars, Floats, Integers
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.errors import StateError, TornBarError
from milepost_backtester.engine.ledger import Ledger
from milepost_backtester.engine.records import Fill, Logs, Order, RoundTrip, State
from milepost_backtester.engine.strategy import Strategy

ENGINE_VERSION = "1"
"""Raised with every change that can change a result."""
STATE_SCHEMA_VERSION = "1"
"""Raised with every change of the state's fields."""

STATE_FIELDS = frozenset(
    {"bar_index", "cash", "position", "next_order_id", "lots", "waiting", "fills", "trades", "strategy"}
)


@dataclass(frozen=True, slots=True, eq=False)
class EquityCurve:
    """The account at the close of each bar done; arrays of equal length."""

    timestamp: Integers
    equity: Floats
    cash: Floats
    position: Floats


class BacktestingEngine:
    """Runs a strategy over bars."""

    def __init__(
        self, bars: Bars, strategy: Strategy, *, initial_cash: float = 100_000.0, commission_rate: float = 0.0
    ) -> None:
        """``commission_rate`` is the share of the traded value that each fill costs."""
        if not (isfinite(initial_cash) and initial_cash > 0):
            raise ValueError(f"initial_cash must be a positive number, not {initial_cash!r}")
        if not 0 <= commission_rate < 1:
            raise ValueError(f"commission_rate must be at least 0 and less than 1, not {commission_rate!r}")
        self._bars = bars
        self._strategy = strategy
        self._ledger = Ledger(initial_cash, commission_rate)
        self._broker = Broker(self._ledger)
        self._bar = Bar()
        self._chunk: BarChunk | None = None
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
    def logs(self) -> Logs:
        """The append-only logs themselves; rows of the bars done do not change any more."""
        return self._ledger.logs

    @property
    def trades(self) -> list[RoundTrip]:
        """Round trips so far, in the order of their exits."""
        return list(self._ledger.logs.trades)

    @property
    def fills(self) -> list[Fill]:
        """Fills so far."""
        return list(self._ledger.logs.fills)

    @property
    def equity(self) -> Floats:
        """Equity at the close of each bar done."""
        return np.array(self._ledger.logs.equity[: self._bar_index], dtype=np.float64)

    @property
    def curve(self) -> EquityCurve:
        """Time, equity, cash and position at the close of each bar done."""
        logs, count = self._ledger.logs, self._bar_index
        return EquityCurve(
            timestamp=self._bars.timestamp[:count],
            equity=self.equity,
            cash=np.array(logs.cash[:count], dtype=np.float64),
            position=np.array(logs.position[:count], dtype=np.float64),
        )

    @property
    def broker(self) -> Broker:
        """The account as the strategy sees it."""
        return self._broker

    @property
    def waiting(self) -> tuple[Order, ...]:
        """Orders that will fill at the next open; at the end, those that never will."""
        return self._broker.waiting

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
        total = len(self._bars)
        stop = total if until is None else min(until, total)
        try:
            while self._bar_index < stop:
                chunk = self._chunk_at(self._bar_index)
                self._run(chunk, min(stop, chunk.stop))
        except BaseException:
            self._torn = True
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
            **self._ledger.state_dict(),
            "strategy": _copied(self._strategy.state_dict()),
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
        self._ledger.load_state_dict(state, self._ledger.logs if logs is None else logs, bar_index)
        self._strategy.load_state_dict(_copied(state["strategy"]))
        self._bar_index = bar_index
        self._torn = False

    def _chunk_at(self, index: int) -> BarChunk:
        chunk = self._chunk
        if chunk is None or not chunk.start <= index < chunk.stop:
            start = index - index % CHUNK_BARS
            chunk = self._chunk = BarChunk(self._bars, start, min(start + CHUNK_BARS, len(self._bars)))
        return chunk

    def _run(self, chunk: BarChunk, stop: int) -> None:
        """The hot loop: everything in local names, one bar object, no numpy."""
        ledger, broker, bar, on_bar = self._ledger, self._broker, self._bar, self._strategy.on_bar
        logs = ledger.logs
        mark_equity, mark_cash, mark_position = logs.equity.append, logs.cash.append, logs.position.append
        index = self._bar_index
        part = slice(index - chunk.start, stop - chunk.start)
        rows = zip(
            chunk.timestamp[part],
            chunk.open[part],
            chunk.high[part],
            chunk.low[part],
            chunk.close[part],
            chunk.volume[part],
            strict=True,
        )
        for timestamp, open_price, high, low, close, volume in rows:
            ledger.current_bar = index
            if ledger.waiting:
                ledger.fill_waiting(index, open_price)
            if ledger.lots:
                ledger.observe(high, low)
            ledger.equity = equity = ledger.cash + ledger.position * close
            mark_equity(equity)
            mark_cash(ledger.cash)
            mark_position(ledger.position)
            bar.index = index
            bar.timestamp = timestamp
            bar.open = open_price
            bar.high = high
            bar.low = low
            bar.close = close
            bar.volume = volume
            on_bar(bar, broker)
            index += 1
            self._bar_index = index


def _copied(state: Mapping[str, Any]) -> State:
    """Copy, because a strategy may hand out its own lists, or keep the ones it is given.

    Twenty times faster than ``copy.deepcopy``, exact, and it refuses whatever is no plain value.
    """
    try:
        return marshal.loads(marshal.dumps(dict(state)))  # noqa: S302 - our own bytes, made on the same line
    except ValueError as error:
        raise StateError("the strategy's state holds something other than plain JSON values") from error
