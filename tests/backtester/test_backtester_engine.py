"""The engine alone: fills by hand, accounts that add up, runs that may stop anywhere, no look-ahead."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import CHUNK_BARS, Bars
from milepost_backtester.engine.broker import ORDERS_WAITING_MAX
from milepost_backtester.engine.errors import BarsError, OrderError, StateError, TornBarError
from milepost_backtester.engine.records import Fill, Order, RoundTrip
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters

from tests.backtester.backtest_doubles import Script, Wanderer, bars_of, digest_of, through_json
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

FOUR = bars_of((10, 11, 9, 10.5), (12, 15, 11, 14), (13, 14, 8, 9), (10, 12, 10, 11))


def run(bars: Bars, strategy: Any, *, cash: float = 1000.0, commission: float = 0.0) -> BacktestingEngine:
    engine = BacktestingEngine(bars, strategy, initial_cash=cash, commission_rate=commission)
    engine.advance()
    return engine


def test_market_order_fills_at_the_next_open_with_commission() -> None:
    """Bought at the close of bar 0, filled at the open of bar 1, sold at the open of bar 3; numbers by hand."""
    engine = run(FOUR, Script({0: lambda b: b.order(10), 2: lambda b: b.order(-10)}), commission=0.01)
    assert engine.fills == [
        Fill(order_id=1, submitted_bar=0, bar=1, quantity=10, price=12, commission=1.2),
        Fill(order_id=2, submitted_bar=2, bar=3, quantity=-10, price=10, commission=1.0),
    ]
    assert engine.trades == [
        RoundTrip(
            entry_order_id=1,
            exit_order_id=2,
            entry_bar=1,
            exit_bar=3,
            quantity=10,
            entry_price=12,
            exit_price=10,
            commission=2.2,
            pnl=-22.2,
            max_favourable_excursion=30,  # 15 - 12, bar 1
            max_adverse_excursion=40,  # 12 - 8, bar 2
        )
    ]
    assert engine.equity.tolist() == [1000, 1018.8, 968.8, 977.8]
    assert engine.curve.cash.tolist() == [1000, 878.8, 878.8, 977.8]
    assert engine.curve.position.tolist() == [0, 10, 10, 0]


def test_short_position_is_closed_and_turned() -> None:
    """A larger order against a short position closes it and opens a long one at the same price."""
    engine = run(FOUR, Script({0: lambda b: b.order(-10), 1: lambda b: b.order(30)}), commission=0.01)
    (trade,) = engine.trades
    assert (trade.quantity, trade.entry_price, trade.exit_price) == (-10, 12, 13)
    assert trade.commission == pytest.approx(1.2 + 1.3)  # a third of the second fill's 3.9
    assert trade.pnl == pytest.approx(-10 - 2.5)
    assert (trade.max_favourable_excursion, trade.max_adverse_excursion) == (10, 30)  # 12 - 11 and 15 - 12
    assert engine.curve.position.tolist() == [0, -10, 20, 20]
    assert engine.broker.cash == pytest.approx(1000 + 120 - 1.2 - 390 - 3.9)


def test_lots_close_first_in_first_out() -> None:
    """A partial close takes all of the oldest lot and a part of the next, commission in proportion."""
    bars = bars_of(*[(10 + i, 10 + i, 10 + i, 10 + i) for i in range(6)])
    engine = run(
        bars,
        Script({0: lambda b: b.order(4), 1: lambda b: b.order(6), 2: lambda b: b.order(-7)}),
        commission=0.1,
    )
    first, second = engine.trades
    assert (first.entry_order_id, first.quantity, first.entry_price, first.exit_price) == (1, 4, 11, 13)
    assert (second.entry_order_id, second.quantity, second.entry_price, second.exit_price) == (2, 3, 12, 13)
    assert first.commission == pytest.approx(4.4 + 9.1 * 4 / 7)
    assert second.commission == pytest.approx(3.6 + 9.1 * 3 / 7)
    assert engine.broker.position == 3


def test_orders_of_one_bar_fill_in_their_order() -> None:
    """Two orders of one bar fill at the same open, first come first served."""
    engine = run(FOUR, Script({0: lambda b: (b.order(5), b.order(-5))}))
    assert [fill.quantity for fill in engine.fills] == [5, -5]
    assert len(engine.trades) == 1
    assert engine.equity.tolist() == [1000] * 4


def test_order_of_the_last_bar_waits_for_ever_and_is_reported() -> None:
    """An order decided at the last bar does not fill and is shown as waiting."""
    engine = run(FOUR, Script({3: lambda b: b.order(2)}))
    assert engine.fills == []
    assert engine.waiting == (Order(1, 2, 3),)


def test_cancelled_order_does_not_fill() -> None:
    """An order taken back at the same bar never fills, and says so the second time."""
    answers: list[bool] = []
    engine = run(
        FOUR, Script({0: lambda b: [answers.append(b.cancel(number)) for number in (b.order(1), 1)]})
    )
    assert answers == [True, False]
    assert engine.fills == []


def test_target_counts_what_waits() -> None:
    """Two targets in one bar lead to the second one, and a target already reached orders nothing."""
    engine = run(FOUR, Script({0: lambda b: (b.target(10), b.target(4)), 1: lambda b: b.target(4)}))
    assert [fill.quantity for fill in engine.fills] == [10, -6]
    assert engine.broker.position == 4


@given(targets=st.lists(st.floats(-1000, 1000).map(lambda value: round(value, 3)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_target_is_reached_in_one_order(targets: list[float]) -> None:
    """Whatever the targets before, one order each leads there, and asking again orders nothing; 0 is exactly 0."""
    wanted = [target for target in [*targets, 0.0] for _ in range(2)]
    bars = bars_of(*[(10, 10, 10, 10)] * (len(wanted) + 1))
    actions = {bar: lambda broker, target=target: broker.target(target) for bar, target in enumerate(wanted)}
    engine = run(bars, Script(actions))
    assert engine.curve.position[1:].tolist() == pytest.approx(wanted, rel=0, abs=1e-9)
    assert all(fill.submitted_bar % 2 == 0 for fill in engine.fills)
    assert engine.state_dict()["lots"] == []


@pytest.mark.parametrize("quantity", [0, float("nan"), float("inf"), -float("inf")])
def test_impossible_quantity_is_refused(quantity: float) -> None:
    """An order of nothing, or of no number, is refused with its bar."""
    with pytest.raises(OrderError, match="at bar 1"):
        run(FOUR, Script({1: lambda b: b.order(quantity)}))


def test_waiting_orders_are_bounded() -> None:
    """A strategy that orders without end in one bar is stopped."""

    def flood(broker: Any) -> None:
        for _ in range(ORDERS_WAITING_MAX + 1):
            broker.order(1)

    with pytest.raises(OrderError, match=str(ORDERS_WAITING_MAX)):
        run(FOUR, Script({0: flood}))


@pytest.mark.parametrize(
    ("cash", "commission"),
    [(0, 0), (-1, 0), (float("nan"), 0), (float("inf"), 0), (1, -0.1), (1, 1), (1, float("nan"))],
)
def test_impossible_account_is_refused(cash: float, commission: float) -> None:
    """Cash must be positive and finite, commission at least 0 and less than 1."""
    with pytest.raises(ValueError, match="must be"):
        BacktestingEngine(FOUR, Script({}), initial_cash=cash, commission_rate=commission)


def test_arrays_that_are_no_bars_are_refused() -> None:
    """Columns of different length or type are refused by name."""
    with pytest.raises(BarsError, match="close"):
        dataclasses.replace(FOUR, close=FOUR.close[:2])
    with pytest.raises(BarsError, match="timestamp"):
        dataclasses.replace(FOUR, timestamp=FOUR.close)


STRATEGIES: dict[str, Callable[[], Any]] = {
    "sma": lambda: SmaCross(SmaCrossParameters(fast=3, slow=8, quantity=3, allow_short=True)),
    "wanderer": lambda: Wanderer(seed=9, every=2),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_cut_after_any_bar_ends_the_same(name: str) -> None:
    """Bars 1 to n, then n+1 to m in a new engine from the state as JSON, equal bars 1 to m, for every n."""
    bars, make = make_bars(150, seed=4), STRATEGIES[name]
    expected = digest_of(run(bars, make(), commission=0.001))
    for cut in range(len(bars) + 1):
        first = BacktestingEngine(bars, make(), initial_cash=1000.0, commission_rate=0.001)
        first.advance(cut)
        second = BacktestingEngine(bars, make(), initial_cash=1000.0, commission_rate=0.001)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        assert second.bar_index == cut
        second.advance()
        assert digest_of(second) == expected


@given(steps=st.lists(st.integers(1, 100), min_size=1, max_size=30), seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_where_advance_stops_changes_nothing(steps: list[int], seed: int) -> None:
    """Any sequence of boundaries, across converted chunks too, gives the same result."""
    bars = make_bars(9000, seed=2)
    engine = BacktestingEngine(bars, Wanderer(seed, every=20), initial_cash=1000.0)
    engine.advance(CHUNK_BARS - 200)
    for step in steps:
        engine.advance(engine.bar_index + step)
    engine.advance()
    assert digest_of(engine) == digest_of(run(bars, Wanderer(seed, every=20)))


@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_is_seen_ahead_of_time(name: str) -> None:
    """Other bars after t change nothing up to t."""
    bars, other = make_bars(300, seed=5), make_bars(300, seed=6)
    for seen in (1, 8, 9, 100, 250, 299):
        mixed = Bars(
            bars.timestamp,
            *(
                np.concatenate((getattr(bars, column)[:seen], getattr(other, column)[seen:]))
                for column in ("open", "high", "low", "close", "volume")
            ),
        )
        one = BacktestingEngine(bars, STRATEGIES[name](), initial_cash=1000.0)
        two = BacktestingEngine(mixed, STRATEGIES[name](), initial_cash=1000.0)
        one.advance(seen)
        two.advance(seen)
        assert digest_of(one) == digest_of(two)
        assert one.state_dict() == two.state_dict()


def test_strategy_sees_each_bar_once_and_in_order() -> None:
    """The one bar object holds every bar's values in turn."""
    script = Script({})
    run(FOUR, script)
    assert script.seen == [(0, 10.5), (1, 14), (2, 9), (3, 11)]


@given(seed=st.integers(0, 2**31), commission=st.sampled_from([0.0, 0.001, 0.05]))
@settings(max_examples=25, deadline=None)
def test_accounts_add_up_at_every_bar(seed: int, commission: float) -> None:
    """Cash is what fills leave, equity is cash plus position, lots are the position, profits explain equity."""
    bars = make_bars(120, seed=seed % 1000)
    engine = BacktestingEngine(bars, Wanderer(seed, every=2), initial_cash=5000.0, commission_rate=commission)
    while engine.bar_index < engine.total_bars:
        engine.step()
        now = engine.bar_index - 1
        close, state = float(bars.close[now]), engine.state_dict()
        spent = sum(Fraction(fill.quantity) * Fraction(fill.price) for fill in engine.fills)
        fees = sum(Fraction(fill.commission) for fill in engine.fills)
        held = sum(Fraction(lot["quantity"]) for lot in state["lots"])
        position = state["position"][0]
        open_profit = sum(
            Fraction(lot["quantity"]) * (Fraction(close) - Fraction(lot["price"]))
            - Fraction(lot["commission"])
            for lot in state["lots"]
        )
        closed_profit = sum(Fraction(trade.pnl) for trade in engine.trades)
        assert state["cash"] == pytest.approx(float(5000 - spent - fees), abs=1e-6)
        assert engine.equity[now] == state["cash"] + position * close
        assert position == pytest.approx(float(held), abs=1e-9)
        assert engine.equity[now] - 5000 == pytest.approx(float(open_profit + closed_profit), abs=1e-6)
    assert all(fill.commission >= 0 for fill in engine.fills)
    assert all(trade.commission >= -1e-12 for trade in engine.trades)
    assert all(trade.max_favourable_excursion >= 0 <= trade.max_adverse_excursion for trade in engine.trades)
    assert all(len({lot["quantity"] > 0 for lot in state["lots"]}) == 1 for state in [state] if state["lots"])


@given(
    closes=st.lists(st.integers(1, 100), min_size=12, max_size=80),
    fast=st.integers(1, 5),
    more=st.integers(1, 6),
    allow_short=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_sma_cross_follows_the_exact_averages(
    closes: list[int], fast: int, more: int, allow_short: bool
) -> None:
    """At every bar the position asked for is what exact fractions of both window means say."""
    slow, prices = fast + more, [close / 100 for close in closes]
    bars = bars_of(*[(price, price, price, price) for price in prices])
    strategy = SmaCross(SmaCrossParameters(fast=fast, slow=slow, quantity=2, allow_short=allow_short))
    engine = BacktestingEngine(bars, strategy, initial_cash=1000.0)
    for index in range(len(prices)):
        engine.step()
        wanted = engine.broker.position + sum(order.quantity for order in engine.waiting)
        if index + 1 < slow:
            assert wanted == 0
            continue
        mean_fast, mean_slow = (
            sum(map(Fraction, prices[index + 1 - window : index + 1])) / window for window in (fast, slow)
        )
        below = -2 if allow_short else 0
        assert wanted == (2 if mean_fast > mean_slow else below if mean_fast < mean_slow else 0)


class Breaks(Wanderer):
    """Raises at one bar, after it has ordered."""

    def __init__(self, at: int) -> None:
        super().__init__(seed=2)
        self.at: int | None = at

    def on_bar(self, bar: Any, broker: Any) -> None:
        super().on_bar(bar, broker)
        if bar.index == self.at:
            raise ZeroDivisionError("a team's mistake")


def test_torn_bar_must_be_taken_back() -> None:
    """After an exception in a bar the engine does nothing until a state is loaded, and then ends right."""
    bars = make_bars(100)
    strategy = Breaks(at=60)
    engine = BacktestingEngine(bars, strategy, initial_cash=1000.0)
    engine.advance(40)
    state = engine.state_dict()
    with pytest.raises(ZeroDivisionError):
        engine.advance()
    assert engine.bar_index == 60
    with pytest.raises(TornBarError):
        engine.advance()
    with pytest.raises(TornBarError):
        engine.state_dict()
    strategy.at = None
    engine.load_state_dict(state)
    engine.advance()
    assert digest_of(engine) == digest_of(run(bars, Wanderer(seed=2)))


class Careless(Wanderer):
    """Hands out its own list and keeps the one it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def on_bar(self, bar: Any, broker: Any) -> None:
        self.values.append(bar.close)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: Any) -> None:
        self.values = state["values"]


def test_a_careless_strategy_cannot_change_a_state_kept_elsewhere() -> None:
    """States stay as they were when the strategy shares its lists."""
    engine = BacktestingEngine(make_bars(20), Careless(), initial_cash=1000.0)
    engine.advance(3)
    state = engine.state_dict()
    kept = through_json(state)
    engine.advance(5)
    assert state == kept
    engine.load_state_dict(state)
    engine.advance(5)
    assert state == kept


def test_a_state_of_something_else_is_refused() -> None:
    """Missing and unknown fields, impossible lengths and states that are no plain values are refused by name."""
    engine = run(FOUR, Wanderer())
    state = engine.state_dict()
    with pytest.raises(StateError, match=r"missing: \['cash'\], unknown: \['gold'\]"):
        engine.load_state_dict({**{key: state[key] for key in state if key != "cash"}, "gold": 1})
    with pytest.raises(StateError, match="bar_index 5 of 4"):
        engine.load_state_dict({**state, "bar_index": 5})
    with pytest.raises(StateError, match="rows"):
        engine.load_state_dict({**state, "fills": 99})
    strange = Script({})
    strange.state_dict = lambda: {"lock": object()}  # type: ignore[method-assign]
    with pytest.raises(StateError, match="plain JSON"):
        BacktestingEngine(FOUR, strange).state_dict()


def test_results_are_copies() -> None:
    """What the engine gives out cannot be used to change it."""
    engine = run(make_bars(50), Wanderer())
    before = digest_of(engine)
    engine.trades.clear()
    engine.fills.clear()
    engine.equity[:] = 0
    assert digest_of(engine) == before
