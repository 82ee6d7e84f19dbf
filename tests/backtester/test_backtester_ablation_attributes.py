"""Nothing is left out of the state unseen: every attribute and every column is declared (A2)."""

from typing import Any

import pytest
from milepost_backtester.engine.account import AccountTables
from milepost_backtester.engine.acting import ActingRun
from milepost_backtester.engine.backtesting_engine import STATE_FIELDS, BacktestingEngine
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.layouts import COUNT_PLACES, LOT, MONEY_PLACES, ORDER
from milepost_backtester.engine.portfolio_broker import PortfolioBroker, SymbolBroker
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.portfolio_tiers import EachCompiledRun, PortfolioRun
from milepost_backtester.engine.records import Logs
from milepost_backtester.engine.tiers import CompiledRun, PythonRun
from milepost_backtester.engine.turns import TurnsRun
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.model import CompiledModel
from milepost_backtester.strategies.sizing import Sizing
from milepost_backtester.strategies.sma_cross import SmaCross

from tests.backtester.ablation_doubles import (
    each_ema,
    each_sized_ema,
    each_sma,
    ema,
    engine_with,
    model,
    portfolio_trader,
    sized,
    sma,
    wanderer,
)
from tests.backtester.acting_doubles import Risk
from tests.backtester.backtest_doubles import (
    Wanderer,
)
from tests.backtester.portfolio_doubles import PortfolioTrader
from tests.backtester.test_backtester_ablation import CASES, LOGS

pytestmark = pytest.mark.unit

ATTRIBUTES: dict[type, dict[str, str]] = {
    BacktestingEngine: {
        "_bars": "input",
        "tier": "fingerprint",
        "_tier_run": "its own attributes below",
        "_book": "its own attributes below",
        "_broker": "its own attributes below",
        "_desk": "the broker's",
        "_bar": "filled anew for each bar",
        "_bar_index": "state: bar_index",
        "warm_up_bars": "fingerprint",
        "_torn": "a torn engine gives no state",
    },
    PythonRun: {
        "_book": "the engine's",
        "_bars": "input",
        "_broker": "the engine's",
        "_bar": "the engine's",
        "_strategy": "state: strategy",
        "_rows": "cache of the input",
        "_rows_next": "where that cache is",
        "_rows_stop": "where that cache ends",
    },
    CompiledRun: {
        "_book": "the engine's",
        "_rule": "memory is state: strategy.memory",
        "_wishes": "input, that rule",
    },
    ActingRun: {
        "_book": "the engine's",
        "_bar": "the engine's",
        "_volume": "input",
        "_rule": "memory is state: strategy.memory",
        "_call": "compiled code",
        "_fault": "zero unless the bar is torn",
        "_turns": "made anew before each run",
    },
    TurnsRun: {
        "_book": "the engine's",
        "_run": "its own attributes above",
        "_memories": "state: strategy.memory",
        "_frames": "where input and memories lie",
        "_own_places": "input",
        "_turns": "made anew before each run",
    },
    PortfolioRun: {
        "_book": "the engine's",
        "_bars": "input",
        "_broker": "the engine's",
        "_moment": "the engine's",
        "_strategy": "state: strategy",
        "_all": "filled anew for each bar",
        "_shown": "filled anew for each bar",
    },
    EachCompiledRun: {
        "_book": "the engine's",
        "_bars": "input",
        "_wishes": "input, and where it and the memories lie",
        "_rules": "memories are state: strategy.memory",
    },
    EachSymbol: {"strategies": "state: strategy.symbols"},
    PortfolioBroker: {
        "_bars": "input",
        "_moment": "the engine's",
        "_places": "input",
        "desk": "its own attributes below",
    },
    Book: {
        "_bars": "input",
        "_rules": "fingerprint",
        "orders_from": "fingerprint",
        "_wake_counts": "written before each run that reads it",
        "_wake_prices": "written before each run that reads it",
        "borrows": "follows from the rules",
        "charges": "follows from the rules",
        "fills_for_certain": "follows from the rules",
        "scheduled": "empty between two calls of advance: in line",
        "now": "its own attributes below",
        "_other": "copy to look ahead on, written before it is read",
        "_ahead": "how far that copy is",
        "done": "bar_index",
        "fills": "log",
        "trades": "log",
        "equity_marks": "log",
        "cash_marks": "log",
        "position_marks": "log",
    },
    AccountTables: {
        "money": "state: cash, borrow_cost",
        "counts": "state: next_order_id, fills, trades, refused, expired, margin_calls, lengths of the two below",
        "position": "state: position",
        "orders": "state: waiting",
        "lots": "state: lots",
        "frame": "where those arrays lie in memory",
        "framed": "which of them that is",
    },
    Broker: {
        "_book": "the engine's",
        "_bar": "the engine's",
        "decided": "empty between two bars: handed over",
        "cancelled": "empty between two bars: handed over",
        "_links": "empty between two bars: handed over",
        "acts_next": "follows from waiting",
        "position": "state: position",
        "next_order_id": "state: next_order_id",
        "_resting": "number of waiting",
        "_marks": "where cash is looked up",
        "_plain": "true between two bars: handed over",
        "_symbol": "turned to anew before each use",
    },
    Logs: dict.fromkeys(LOGS, "log"),
    CompiledModel: {
        "_parameters": "fingerprint",
        "_scores": "computed anew from the bars and the model, both inputs, by blocks that begin at fixed bars",
        "_enter_long": "parameter",
        "_leave_long": "parameter",
        "_enter_short": "parameter",
        "_leave_short": "parameter",
        "_bar": "state: strategy.bar",
        "_side": "state: strategy.side",
        "_wanted": "state: strategy.wanted",
        "_block": "cache of the scores",
        "_block_number": "which block that is",
        "fingerprint": "fingerprint",
        "environment": "fingerprint",
    },
    SmaCross: {
        "_parameters": "fingerprint",
        "_fast": "parameter",
        "_slow": "parameter",
        "_long": "parameter",
        "_below": "parameter",
        "_closes": "state: strategy.closes",
        "_place": "state: strategy.seen",
        "_rounds": "state: strategy.seen",
        "_slow_sum": "decides only where it cannot be wrong",
        "_fast_sum": "decides only where it cannot be wrong",
        "_since_fresh": "when the sums are made anew",
        "_peak": "how wrong the sums can be",
        "_tolerance": "how wrong the sums can be",
        "sizing": "its own attributes below",
    },
    Sizing: {
        "parameters": "fingerprint",
        "kind": "parameter",
        "_side": "state: strategy.sizing_side",
        "_units": "state: strategy.sizing_units",
        "_seen": "state: strategy.sizing_seen",
        "_close": "state: strategy.sizing_close",
        "_range": "state: strategy.sizing_range",
    },
}


ATTRIBUTES[SymbolBroker] = {**ATTRIBUTES[Broker], "_closes": "input"}


def attributes_of(thing: Any) -> set[str]:
    slots = {name for part in type(thing).__mro__ for name in getattr(part, "__slots__", ())}
    return slots | set(getattr(thing, "__dict__", {}))


def test_no_attribute_is_undeclared() -> None:
    """Whoever adds an attribute to the engine, its parts or the strategy must say here what becomes of it."""
    found: dict[type, set[str]] = {}
    several = (portfolio_trader(), each_sma(), each_ema(), each_sized_ema())
    for strategy in (sized(), wanderer(), ema(), model(), Risk(), *several):
        engine = engine_with(strategy)
        for _ in range(100):
            engine.step()
            book = engine._book
            parts = (engine._tier_run, book, book.now, engine.broker, engine._desk, engine.logs, strategy)
            sizing = [strategy.sizing] if isinstance(strategy, SmaCross) else []
            for thing in (engine, *parts, *sizing):
                found.setdefault(type(thing), set()).update(attributes_of(thing))
    del found[Wanderer], found[PortfolioTrader]
    del found[EmaCross], found[Risk]  # in the compiled tier only their rules remember
    assert found == {kind: set(names) for kind, names in ATTRIBUTES.items()}


def test_no_column_is_undeclared() -> None:
    """Every column of the tables is in the state, or known to look no further than one bar."""
    names = {name.split("[].")[1] for name in CASES if name.startswith("waiting[].")}
    assert set(ORDER.names or ()) == names | {"since_bar"}
    names = {name.split("[].")[1] for name in CASES if name.startswith("lots[].")}
    assert set(LOT.names or ()) == names
    assert (MONEY_PLACES, COUNT_PLACES) == (2, 8)


def test_the_state_has_no_other_keys() -> None:
    """The engine's own list of fields is what it returns."""
    assert engine_with(sma()).state_dict().keys() == STATE_FIELDS
