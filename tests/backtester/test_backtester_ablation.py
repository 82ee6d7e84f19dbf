"""The state is necessary and sufficient (A2): every field left out changes the result, all of them keep it."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.engine.backtesting_engine import STATE_FIELDS, BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.ledger import Ledger
from milepost_backtester.engine.records import Logs, Lot, Order
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters

from tests.backtester.backtest_doubles import Wanderer, digest_of, through_json
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "state.md"
BARS = make_bars(600, seed=3)
CUTS_MAX = 12
SHARE_MIN = 0.25

State = dict[str, Any]


def wanderer() -> Wanderer:
    """Many lots, partial closes, orders at most bars."""
    return Wanderer(seed=5, every=2)


def sma() -> SmaCross:
    return SmaCross(SmaCrossParameters(fast=3, slow=8, quantity=7.0, allow_short=True))


def engine_with(strategy: Any, bars: Bars = BARS) -> BacktestingEngine:
    return BacktestingEngine(bars, strategy, initial_cash=10_000.0, commission_rate=0.001)


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


def has_lots(state: State) -> bool:
    return bool(state["lots"])


def has_waiting(state: State) -> bool:
    return bool(state["waiting"])


CASES: dict[str, Case] = {
    "bar_index": Case(setting("bar_index", 0), lambda state: state["bar_index"] > 0),
    "cash": Case(setting("cash", 10_000.0), lambda state: state["fills"] > 0),
    "position": Case(setting("position", 0.0), lambda state: state["position"] != 0),
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
    "fills": Case(setting("fills", 0), lambda state: state["fills"] > 0),
    "trades": Case(setting("trades", 0), lambda state: state["trades"] > 0),
    "strategy.seen": Case(in_strategy("seen", 0), lambda state: state["position"] != 0, sma),
    "strategy.closes": Case(in_strategy("closes", [0.0] * 8), lambda state: state["position"] != 0, sma),
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
    return {make: cuts(make) for make in (wanderer, sma)}


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
    del getattr(without, name)[:]
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
    for make in (wanderer, sma):
        for state, _ in runs[make][1]:
            actual |= leaves(state)
    actual.discard("strategy.number")  # of the strategy that only this test has
    assert set(DECLARED) == set(CASES) == actual
    assert len(DECLARED) == len(set(DECLARED))
    assert set(first_column("| log |")) == set(LOGS) == {field.name for field in fields(Logs)}


ATTRIBUTES: dict[type, dict[str, str]] = {
    BacktestingEngine: {
        "_bars": "input",
        "_strategy": "state: strategy",
        "_ledger": "its own attributes below",
        "_broker": "has nothing but the ledger",
        "_bar": "filled anew for each bar",
        "_chunk": "cache of the input",
        "_bar_index": "state: bar_index",
        "_torn": "a torn engine gives no state",
    },
    Ledger: {
        "cash": "state: cash",
        "commission_rate": "fingerprint",
        "current_bar": "follows from bar_index",
        "equity": "last row of the equity log",
        "logs": "logs",
        "lots": "state: lots",
        "next_order_id": "state: next_order_id",
        "position": "state: position",
        "waiting": "state: waiting",
    },
    Broker: {"_ledger": "the engine's"},
    Logs: dict.fromkeys(LOGS, "log"),
    Lot: {name.removeprefix("lots[]."): "state" for name in CASES if name.startswith("lots[].")},
    Order: {name.removeprefix("waiting[]."): "state" for name in CASES if name.startswith("waiting[].")},
    SmaCross: {
        "_parameters": "fingerprint",
        "_fast": "parameter",
        "_slow": "parameter",
        "_long": "parameter",
        "_below": "parameter",
        "_seen": "state: strategy.seen",
        "_closes": "state: strategy.closes",
        "_exact": "follows from strategy.closes",
        "_slow_sum": "follows from strategy.closes",
        "_fast_sum": "follows from strategy.closes",
    },
}


def attributes_of(thing: Any) -> set[str]:
    slots = {name for part in type(thing).__mro__ for name in getattr(part, "__slots__", ())}
    return slots | set(getattr(thing, "__dict__", {}))


def test_no_attribute_is_undeclared() -> None:
    """Whoever adds an attribute to the engine, its parts or the strategy must say here what becomes of it."""
    found: dict[type, set[str]] = {}
    for strategy in (sma(), wanderer()):
        engine = engine_with(strategy)
        for _ in range(100):
            engine.step()
            ledger = engine._ledger
            for thing in (
                engine,
                ledger,
                engine.broker,
                engine.logs,
                strategy,
                *ledger.lots,
                *ledger.waiting,
            ):
                found.setdefault(type(thing), set()).update(attributes_of(thing))
    found.pop(Wanderer)
    assert found == {kind: set(names) for kind, names in ATTRIBUTES.items()}


def test_the_state_has_no_other_keys() -> None:
    """The engine's own list of fields is what it returns."""
    assert engine_with(sma()).state_dict().keys() == STATE_FIELDS
