"""The state is necessary and sufficient (A2): every field left out changes the result, all of them keep it."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.acting import ActingRun
from milepost_backtester.engine.backtesting_engine import STATE_FIELDS, BacktestingEngine
from milepost_backtester.engine.book import Book, Tables
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.layouts import COUNT_PLACES, LOT, MONEY_PLACES, ORDER, STOP_LIMIT, TRAILING
from milepost_backtester.engine.portfolio_broker import PortfolioBroker, SymbolBroker
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.portfolio_tiers import EachCompiledRun, PortfolioRun
from milepost_backtester.engine.records import Logs
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.tiers import CompiledRun, PythonRun
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.model import CompiledModel, Model
from milepost_backtester.strategies.sizing import Sizing
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_backtester.strategies.trend_cross import TrendCross
from milepost_contracts.specs.strategies import EmaCrossParameters, SmaCrossParameters, TrendCrossParameters

from tests.backtester.acting_doubles import Risk
from tests.backtester.backtest_doubles import (
    Borrower,
    ScriptedScores,
    Trader,
    Wanderer,
    digest_of,
    scripted_model,
    through_json,
)
from tests.backtester.portfolio_doubles import PortfolioTrader, holed, portfolio
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "state.md"
MINUTES = make_bars(600, seed=3)
BARS = replace(MINUTES, timestamp=MINUTES.timestamp * 60)
"""An hour apart, so that days end."""
SEVERAL = portfolio(holed(4, count=250))
"""Three symbols with holes."""
TERMS = Terms(
    commission_rate=0.001,
    spread=0.02,
    slippage_random_rate=0.001,
    slippage_seed=7,
    leverage_max=2.0,
    maintenance_margin=0.45,
    borrow_rate=0.05,
)
CUTS_MAX = 12
SHARE_MIN = 0.25

INITIAL_CASH = 5_000.0

State = dict[str, Any]


def wanderer() -> Wanderer:
    """Many lots, partial closes, orders at most bars."""
    return Wanderer(seed=5, every=2)


def trader() -> Trader:
    """Every kind of order."""
    return Trader(seed=8, every=2)


def sma() -> SmaCross:
    return SmaCross(SmaCrossParameters(fast=3, slow=8, quantity=7.0, allow_short=True))


def sized() -> SmaCross:
    """Positions by volatility, in Python."""
    sizes: dict[str, Any] = {"sizing": "volatility", "quantity": 0.01, "range_bars": 20}
    return SmaCross(SmaCrossParameters(fast=3, slow=8, allow_short=True, **sizes))


def portfolio_trader() -> PortfolioTrader:
    """Every kind of order in three symbols."""
    return PortfolioTrader(seed=8)


def each_sma() -> EachSymbol:
    """A rule for each of three symbols."""
    return EachSymbol({symbol: sma() for symbol in "abc"})


def each_ema() -> EachSymbol:
    """Compiled."""
    return EachSymbol({symbol: ema() for symbol in "abc"})


def engine_with(strategy: Any) -> BacktestingEngine:
    rule = next(iter(strategy.strategies.values())) if isinstance(strategy, EachSymbol) else strategy
    tier = "compiled" if isinstance(rule, EmaCross | Risk) else "python"
    bars = SEVERAL if hasattr(strategy, "on_bars") else BARS
    return BacktestingEngine(bars, strategy, initial_cash=INITIAL_CASH, terms=TERMS, tier=tier)


def ema() -> EmaCross:
    """Compiled."""
    return EmaCross(EmaCrossParameters(fast=4, slow=11, quantity=7.0, allow_short=True))


def trend() -> TrendCross:
    """Bars of three hours above the bars of one."""
    return TrendCross(
        TrendCrossParameters(fast=3, slow=60, timeframe="3h", trend_bars=3, quantity=7.0, allow_short=True)
    )


def model() -> Model:
    """Scores that wander over all thresholds and often stay between them."""
    up = np.random.default_rng(4).uniform(0.3, 0.7, len(BARS))
    up[:9] = np.nan
    thresholds = {"enter_long": 0.62, "leave_long": 0.4, "enter_short": 0.64, "leave_short": 0.42}
    scores = ScriptedScores(up.tolist(), (1 - up).tolist())
    return scripted_model(scores, sizing="cash", amount=800.0, allow_short=True, **thresholds)


MAKERS = (wanderer, trader, Borrower, sma, sized, ema, model, trend, portfolio_trader, each_sma, each_ema)


@dataclass(frozen=True)
class Case:
    """Which field to leave out, how, and at which cuts that must show."""

    leave_out: Callable[[State], None]
    shows: Callable[[State], bool]
    strategy: Callable[[], Any] = wanderer


def setting(key: str, value: Any) -> Callable[[State], None]:
    """As a fresh engine has it."""
    return lambda state: state.__setitem__(key, value)


def in_lots(key: str, value: Callable[[State], Any]) -> Callable[[State], None]:
    return lambda state: [lot.__setitem__(key, value(lot)) for lot in state["lots"]] and None


def in_waiting(key: str, value: Any) -> Callable[[State], None]:
    return lambda state: [order.__setitem__(key, value) for order in state["waiting"]] and None


def in_strategy(key: str, value: Any) -> Callable[[State], None]:
    return lambda state: state["strategy"].__setitem__(key, value)


def has_position(state: State) -> bool:
    return state["position"][0] != 0


def has_lots(state: State) -> bool:
    return bool(state["lots"])


def has_waiting(state: State) -> bool:
    return bool(state["waiting"])


def some_waiting(field: str, also: Callable[[State], bool] = bool) -> Callable[[State], bool]:
    return lambda state: any(order[field] != 0 and also(order) for order in state["waiting"])


CASES: dict[str, Case] = {
    "bar_index": Case(setting("bar_index", 0), lambda state: state["bar_index"] > 0),
    "cash": Case(setting("cash", INITIAL_CASH), lambda state: state["fills"] > 0),
    "position": Case(setting("position", [0.0]), has_position),
    "next_order_id": Case(setting("next_order_id", 1), lambda state: state["next_order_id"] > 1),
    "lots[].order_id": Case(in_lots("order_id", lambda lot: 0), has_lots),
    "lots[].bar": Case(in_lots("bar", lambda lot: 0), has_lots),
    "lots[].price": Case(in_lots("price", lambda lot: 1.0), has_lots),
    "lots[].quantity": Case(in_lots("quantity", lambda lot: 1.0), has_lots),
    "lots[].commission": Case(in_lots("commission", lambda lot: 0.0), has_lots),
    "lots[].highest": Case(
        in_lots("highest", lambda lot: lot["price"]),
        lambda state: any(lot["highest"] > lot["price"] + 1 for lot in state["lots"]),
    ),
    "lots[].lowest": Case(
        in_lots("lowest", lambda lot: lot["price"]),
        lambda state: any(lot["lowest"] < lot["price"] - 1 for lot in state["lots"]),
    ),
    "waiting[].order_id": Case(in_waiting("order_id", 0), has_waiting),
    "waiting[].quantity": Case(in_waiting("quantity", 0.5), has_waiting),
    "waiting[].submitted_bar": Case(in_waiting("submitted_bar", 0), has_waiting),
    "waiting[].kind": Case(in_waiting("kind", 0), some_waiting("kind"), trader),
    "waiting[].limit": Case(in_waiting("limit", 0.0), some_waiting("limit"), trader),
    "waiting[].stop": Case(in_waiting("stop", 0.0), some_waiting("stop"), trader),
    "waiting[].trail": Case(in_waiting("trail", 0.0), some_waiting("trail"), trader),
    "waiting[].trail_rate": Case(in_waiting("trail_rate", 0.0), some_waiting("trail_rate"), trader),
    "waiting[].extreme": Case(
        in_waiting("extreme", 0.0), some_waiting("extreme", lambda order: order["kind"] == TRAILING), trader
    ),
    "waiting[].day": Case(in_waiting("day", 0), some_waiting("day"), trader),
    "waiting[].group": Case(in_waiting("group", 0), some_waiting("group"), trader),
    "waiting[].parent": Case(in_waiting("parent", 0), some_waiting("parent"), trader),
    "waiting[].reduce_only": Case(in_waiting("reduce_only", 0), some_waiting("reduce_only"), trader),
    "waiting[].triggered": Case(
        in_waiting("triggered", 0),
        some_waiting("triggered", lambda order: order["kind"] == STOP_LIMIT),
        Borrower,
    ),
    "waiting[].symbol": Case(in_waiting("symbol", 0), some_waiting("symbol"), portfolio_trader),
    "lots[].symbol": Case(
        in_lots("symbol", lambda lot: 0),
        lambda state: any(lot["symbol"] for lot in state["lots"]),
        portfolio_trader,
    ),
    "borrow_cost": Case(setting("borrow_cost", 0.0), lambda state: state["borrow_cost"] > 0),
    "refused": Case(setting("refused", 0), lambda state: state["refused"] > 0),
    "expired": Case(setting("expired", 0), lambda state: state["expired"] > 0, trader),
    "margin_calls": Case(setting("margin_calls", 0), lambda state: state["margin_calls"] > 0, Borrower),
    "fills": Case(setting("fills", 0), lambda state: state["fills"] > 0),
    "trades": Case(setting("trades", 0), lambda state: state["trades"] > 0),
    "strategy.memory": Case(in_strategy("memory", [0.0, 0.0]), has_position, ema),
    "strategy.symbols": Case(
        lambda state: (
            [part.update(seen=0, closes=[0.0] * 8) for part in state["strategy"]["symbols"]] and None
        ),
        has_position,
        each_sma,
    ),
    "strategy.bar": Case(in_strategy("bar", 0), has_position, model),
    "strategy.side": Case(in_strategy("side", 0), has_position, model),
    "strategy.wanted": Case(in_strategy("wanted", 0.0), has_position, model),
    "strategy.fast": Case(in_strategy("fast", 0.0), has_position, trend),
    "strategy.slow": Case(in_strategy("slow", 0.0), has_position, trend),
    "strategy.higher_start": Case(in_strategy("higher_start", -1), has_position, trend),
    "strategy.higher_partial": Case(in_strategy("higher_partial", [0.0] * 5), has_position, trend),
    "strategy.higher_complete": Case(in_strategy("higher_complete", []), has_position, trend),
    "strategy.sizing_side": Case(in_strategy("sizing_side", 0.0), has_position, sized),
    "strategy.sizing_units": Case(in_strategy("sizing_units", 0.0), has_position, sized),
    "strategy.sizing_seen": Case(in_strategy("sizing_seen", 0), has_position, sized),
    "strategy.sizing_close": Case(in_strategy("sizing_close", 0.0), has_position, sized),
    "strategy.sizing_range": Case(in_strategy("sizing_range", 0.0), has_position, sized),
    "strategy.seen": Case(in_strategy("seen", 0), has_position, sma),
    "strategy.closes": Case(in_strategy("closes", [0.0] * 8), has_position, sma),
}

LOGS = ("equity", "cash", "position", "fills", "trades")


def first_column(after: str) -> list[str]:
    """Names in the first column of the table that begins with ``after`` on the page."""
    table = PAGE.read_text().split("## Backtest", 1)[1].split(after, 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


DECLARED = first_column("| field |")


def leaves(state: State) -> set[str]:
    """The fields of a state, as the page writes them."""
    names: set[str] = set()
    for key, value in state.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            names |= {f"{key}[].{inner}" for inner in value[0]}
        elif isinstance(value, dict):
            names |= {f"{key}.{inner}" for inner in value}
        elif key not in ("lots", "waiting"):
            names.add(key)
    return names


def cuts(make_strategy: Callable[[], Any]) -> tuple[str, list[tuple[State, Logs]]]:
    """Digest of the undisturbed run, and the state and logs after each bar."""
    engine = engine_with(make_strategy())
    found = [(engine.state_dict(), engine.logs.copy())]
    while engine.bar_index < engine.total_bars:
        engine.step()
        found.append((engine.state_dict(), engine.logs.copy()))
    return digest_of(engine), found


@pytest.fixture(scope="module")
def runs() -> dict[Callable[[], Any], tuple[str, list[tuple[State, Logs]]]]:
    return {make: cuts(make) for make in MAKERS}


def finished(make_strategy: Callable[[], Any], state: State, logs: Logs) -> str:
    """Digest after going on from a state; a state that cannot be gone on from counts as a difference."""
    engine = engine_with(make_strategy())
    try:
        engine.load_state_dict(through_json(state), logs.copy())
        engine.advance()
    except (ValueError, ArithmeticError) as error:
        return f"refused: {error}"
    return digest_of(engine)


def spread(items: list[Any]) -> list[Any]:
    """At most ``CUTS_MAX`` of them, from all over."""
    return items[:: max(1, len(items) // CUTS_MAX)][:CUTS_MAX]


@pytest.mark.parametrize("field", DECLARED)
def test_a_field_left_out_changes_the_result(field: str, runs: Any) -> None:
    """With one declared field as a fresh engine has it, the run ends otherwise; with all fields, the same."""
    case = CASES[field]
    expected, found = runs[case.strategy]
    targeted = spread([cut for cut in found[1:-1] if case.shows(cut[0])])
    assert len(targeted) == CUTS_MAX, "the strategy does not exercise the field"
    different = 0
    for state, logs in targeted:
        assert finished(case.strategy, state, logs) == expected
        without = copy.deepcopy(state)
        case.leave_out(without)
        different += finished(case.strategy, without, logs) != expected
    assert different >= SHARE_MIN * len(targeted)


@pytest.mark.parametrize("name", LOGS)
def test_a_log_left_out_changes_the_result(name: str, runs: Any) -> None:
    """Without the rows of one log up to the cut the run does not end the same."""
    expected, found = runs[wanderer]
    state, logs = next(cut for cut in found[300:] if cut[0]["trades"] > 0)
    without = logs.copy()
    setattr(without, name, getattr(without, name)[:0])
    assert finished(wanderer, state, logs) == expected
    assert finished(wanderer, state, without) != expected


def test_the_order_of_lots_changes_the_result(runs: Any) -> None:
    """Lots in another order close otherwise."""
    expected, found = runs[wanderer]
    state, logs = next(cut for cut in found[100:] if len(cut[0]["lots"]) > 2)
    turned = {**state, "lots": state["lots"][::-1]}
    assert finished(wanderer, turned, logs) != expected


def test_the_page_the_cases_and_the_states_name_the_same_fields(runs: Any) -> None:
    """docs/state.md, this test and the states themselves agree on every field and every log."""
    actual: set[str] = set()
    for make in MAKERS:
        for state, _ in runs[make][1]:
            actual |= leaves(state)
    actual.discard("strategy.number")  # of the strategy that only this test has
    assert set(DECLARED) == set(CASES) == actual
    assert len(DECLARED) == len(set(DECLARED))
    assert set(first_column("| log |")) == set(LOGS) == {field.name for field in fields(Logs)}


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
    Tables: {
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
    for strategy in (sized(), wanderer(), ema(), model(), portfolio_trader(), each_sma(), each_ema(), Risk()):
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
