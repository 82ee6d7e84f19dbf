"""The state is necessary and sufficient (A2): every field left out changes the result, all of them keep it."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.engine.layouts import STOP_LIMIT, TRAILING
from milepost_backtester.engine.records import Logs

from tests.backtester.ablation_doubles import (
    INITIAL_CASH,
    MAKERS,
    each_sma,
    ema,
    engine_with,
    model,
    portfolio_trader,
    sized,
    sma,
    trader,
    trend,
    wanderer,
)
from tests.backtester.backtest_doubles import (
    Borrower,
    digest_of,
    through_json,
)

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "state.md"
CUTS_MAX = 12
SHARE_MIN = 0.25

State = dict[str, Any]


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
