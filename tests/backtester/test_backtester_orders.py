"""Orders of every kind: each rule by hand, and all of them against a second engine made from the description."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.costs import random_share
from milepost_backtester.engine.errors import OrderError
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.terms import Terms

from tests.backtester.backtest_doubles import Script, bars_of
from tests.backtester.reference_engine import Reference, chance

pytestmark = pytest.mark.unit

CASES = 1500
BARS = 40
HALF_DAY = 12 * 3600 * 10**9
GOLDEN_CASH = 10_000.0

# Each: conditions of an order of 10 (or -10) units decided at the close of a quiet bar at 100, the bars after it,
# and the fills that follow as (bar, units, price).
Rows = list[tuple[float, float, float, float]]
GOLDEN: dict[str, tuple[float, Conditions, Rows, list[tuple[int, float, float]]]] = {
    "market: next open": (10, Conditions(), [(101, 103, 99, 102)], [(1, 10, 101)]),
    "limit: inside the bar, at the limit": (10, Conditions(limit=98), [(100, 101, 97, 99)], [(1, 10, 98)]),
    "limit: a gap through it fills at the better open": (
        10, Conditions(limit=98), [(95, 99, 94, 96)], [(1, 10, 95)],
    ),
    "limit: touched is filled": (10, Conditions(limit=98), [(100, 101, 98, 99)], [(1, 10, 98)]),
    "limit: not reached": (10, Conditions(limit=98), [(100, 101, 98.5, 99)], []),
    "limit to sell: gap": (-10, Conditions(limit=102), [(104, 105, 103, 104)], [(1, -10, 104)]),
    "stop: inside the bar, at the stop": (10, Conditions(stop=102), [(100, 103, 99, 101)], [(1, 10, 102)]),
    "stop: a gap through it fills at the open": (10, Conditions(stop=102), [(105, 106, 104, 105)], [(1, 10, 105)]),
    "stop to sell: gap": (-10, Conditions(stop=98), [(95, 96, 94, 95)], [(1, -10, 95)]),
    "stop-limit: stop within the limit": (
        10, Conditions(stop=102, limit=103), [(100, 104, 99, 103)], [(1, 10, 102)],
    ),
    "stop-limit: a gap beyond the limit waits for it": (
        10, Conditions(stop=102, limit=103), [(105, 106, 104, 105), (104, 105, 102, 104)], [(2, 10, 103)],
    ),
    "stop-limit: limit on the other side counts from the next bar on": (
        10, Conditions(stop=102, limit=99), [(100, 103, 98, 101), (101, 102, 98, 100)], [(2, 10, 99)],
    ),
    "trailing: follows highs of earlier bars": (
        -10, Conditions(trail=3), [(100, 104, 99, 103), (103, 104, 100.5, 101)], [(2, -10, 101)],
    ),
    "trailing: by a share": (
        -10, Conditions(trail_rate=0.1), [(100, 110, 99, 109), (109, 110, 98, 99)], [(2, -10, 99)],
    ),
    "exits: the target fills and drops the stop": (
        10, Conditions(stop_loss=95, take_profit=105),
        [(100, 101, 99, 100), (100, 106, 99, 105), (94, 94, 93, 93)], [(1, 10, 100), (2, -10, 105)],
    ),
    "exits: with both in one bar the stop counts": (
        10, Conditions(stop_loss=95, take_profit=105),
        [(100, 101, 99, 100), (100, 106, 94, 105)], [(1, 10, 100), (2, -10, 95)],
    ),
    "exits: act in the bar of an entry at the open": (
        10, Conditions(stop_loss=95, take_profit=105), [(100, 106, 99, 105)], [(1, 10, 100), (1, -10, 105)],
    ),
    "exits: a gap through the stop fills at the open": (
        10, Conditions(stop_loss=95), [(100, 101, 99, 100), (90, 91, 89, 90)], [(1, 10, 100), (2, -10, 90)],
    ),
    "exits: after an entry inside the bar the stop counts at once, the target later": (
        10, Conditions(limit=98, stop_loss=96, take_profit=101),
        [(100, 102, 95, 101)], [(1, 10, 98), (1, -10, 96)],
    ),
    "exits: the target of an entry inside the bar waits": (
        10, Conditions(limit=98, stop_loss=96, take_profit=101),
        [(100, 102, 97, 101), (100, 102, 99, 100)], [(1, 10, 98), (2, -10, 101)],
    ),
    "exits: a stop that the entry has passed is at the entry": (
        10, Conditions(stop_loss=99), [(97, 98, 96, 97)], [(1, 10, 97), (1, -10, 97)],
    ),
    "exits: a trailing stop starts at the entry": (
        10, Conditions(stop_trail=4), [(100, 103, 97, 102), (102, 103, 98, 99)], [(1, 10, 100), (2, -10, 99)],
    ),
    "day: gone on the next day": (
        10, Conditions(limit=98, day=True), [(100, 101, 99, 100), (100, 101, 99, 100), (97, 98, 96, 97)], [],
    ),
    "until cancelled: still there": (
        10, Conditions(limit=98), [(100, 101, 99, 100), (100, 101, 99, 100), (97, 98, 96, 97)], [(3, 10, 97)],
    ),
    "reduce only: nothing to reduce": (10, Conditions(reduce_only=True), [(100, 101, 99, 100)], []),
}  # fmt: skip


def run(bars: Bars, actions: Any, terms: Terms | None = None, cash: float = GOLDEN_CASH) -> BacktestingEngine:
    engine = BacktestingEngine(bars, Script(actions), initial_cash=cash, terms=terms or Terms())
    engine.advance()
    return engine


def spaced(bars: Bars) -> Bars:
    return Bars(
        np.arange(len(bars), dtype=np.int64) * HALF_DAY,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
    )


def fills_of(engine: BacktestingEngine) -> list[tuple[int, float, float]]:
    return [(fill.bar, fill.quantity, fill.price) for fill in engine.fills]


@pytest.mark.parametrize("rule", GOLDEN)
def test_fill_rule(rule: str) -> None:
    """The order fills in the bars and at the prices written down."""
    quantity, conditions, rows, expected = GOLDEN[rule]
    bars = spaced(bars_of((100, 100, 100, 100), *rows))
    engine = run(bars, {0: lambda broker: broker.order(quantity, conditions)})
    assert fills_of(engine) == [pytest.approx(fill) for fill in expected]


QUIET = (100.0, 101.0, 99.0, 100.0)


def test_one_cancels_the_other() -> None:
    """Of two linked orders the first to fill drops the second."""

    def link(broker: Any) -> None:
        broker.order(10, Conditions(stop=103), instead_of=broker.order(10, Conditions(limit=97)))

    engine = run(bars_of(QUIET, (100, 104, 99, 100), (97, 98, 96, 97)), {0: link})
    assert fills_of(engine) == [(1, 10, 103)]
    assert engine.waiting == ()


def test_exits_go_with_the_position() -> None:
    """When the strategy closes the position itself, its exits go; when it cancels the entry, too."""
    actions = {
        0: lambda broker: broker.order(10, Conditions(stop_loss=90, take_profit=110)),
        1: lambda broker: broker.target(0.0),
        2: lambda broker: broker.cancel(broker.order(10, Conditions(limit=95, stop_loss=90))),
    }
    engine = run(bars_of(*[QUIET] * 5), actions)
    assert fills_of(engine) == [(1, 10, 100), (2, -10, 100)]
    assert engine.waiting == ()


def test_costs() -> None:
    """Spread and slippage worsen what takes the market, a limit is kept, commission has parts and a minimum."""
    terms = Terms(
        commission_fixed=1, commission_per_unit=0.1, commission_rate=0.01, commission_minimum=12, spread=0.2,
        slippage_fixed=0.3, slippage_rate=0.001,
    )  # fmt: skip
    actions = {0: lambda broker: (broker.order(10), broker.order(-5, Conditions(limit=100.9)))}
    first, second = run(bars_of(QUIET, QUIET), actions, terms).fills
    assert first.price == pytest.approx(100 + 0.1 + 0.3 + 0.1)
    assert first.commission == pytest.approx(1 + 1 + 10 * 100.5 * 0.01)
    assert (second.price, second.commission) == (100.9, 12)


def test_leverage_refuses_what_would_exceed_it() -> None:
    """An order that fits fills, one that would exceed the leverage is refused, reducing is always possible."""
    actions = {0: lambda b: b.order(190), 1: lambda b: b.order(20), 2: lambda b: b.order(-190)}
    engine = run(bars_of(*[QUIET] * 4), actions, Terms(leverage_max=2))
    assert fills_of(engine) == [(1, 190, 100), (3, -190, 100)]
    assert engine.outcome.orders_refused == 1


def test_margin_call_closes_everything_at_the_next_open() -> None:
    """Below the maintenance margin at a close the orders go and the position is closed at the next open."""
    actions = {0: lambda b: b.order(190, Conditions(take_profit=200))}
    bars = bars_of(QUIET, QUIET, (80, 80, 66, 66), (65, 66, 64, 65))
    engine = run(bars, actions, Terms(leverage_max=2, maintenance_margin=0.3))
    assert fills_of(engine) == [(1, 190, 100), (3, -190, 65)]
    assert (engine.outcome.margin_calls, engine.waiting) == (1, ())


def test_shorts_cost_for_the_time_they_are_held() -> None:
    """A short of 1 000 for half a day at 10 % a year costs 1 000 * 0.1 / 730.5 each bar."""
    engine = run(spaced(bars_of(*[QUIET] * 4)), {0: lambda b: b.order(-10)}, Terms(borrow_rate=0.1))
    assert engine.outcome.borrow_cost == pytest.approx(3 * 1000 * 0.1 / 730.5)
    assert engine.curve.cash[-1] == pytest.approx(GOLDEN_CASH + 1000 - engine.outcome.borrow_cost)


def test_sizes() -> None:
    """Units for an amount, for a fraction of the equity and for a risk, at the close."""
    found: list[float] = []
    actions = {
        0: lambda b: found.extend(
            (b.units_for_cash(500), b.units_for_fraction(0.5), b.units_for_risk(0.01, 4))
        )
    }
    run(bars_of(QUIET), actions)
    assert found == [5, 50, 25]


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(limit=-1),
        Conditions(stop=float("nan")),
        Conditions(trail=1, limit=5),
        Conditions(trail=1, trail_rate=0.1),
        Conditions(trail_rate=1.5),
        Conditions(stop_loss=5, take_profit=4),
        Conditions(stop_loss=5, stop_trail=1),
    ],
)
def test_impossible_conditions_are_refused(conditions: Conditions) -> None:
    """An order that cannot be meant is refused with its bar."""
    with pytest.raises(OrderError, match="at bar 0"):
        run(bars_of(QUIET), {0: lambda broker: broker.order(1, conditions)})


def test_impossible_terms_are_all_named() -> None:
    """Every impossible term is in the message."""
    with pytest.raises(ValueError, match=r"spread.*borrow_rate.*commission_rate.*leverage_max"):
        Terms(spread=-1, borrow_rate=float("nan"), commission_rate=1.5, leverage_max=0)


def test_random_slippage_follows_from_seed_bar_and_order() -> None:
    """The compiled hash equals one with Python's integers, and is spread evenly."""
    shares = [
        random_share(seed, bar, number) for seed in range(5) for bar in range(40) for number in range(10)
    ]
    assert shares == [
        chance(seed, bar, number) for seed in range(5) for bar in range(40) for number in range(10)
    ]
    assert 0.45 < float(np.mean(shares)) < 0.55
    assert len(set(shares)) == len(shares)


def random_conditions(rng: np.random.Generator, close: float, side: float) -> Conditions:
    """Prices around the close, in tenths so that they meet those of the bars."""

    def near(least: float, most: float) -> float:
        return round(close + side * rng.uniform(least, most), 1)

    kind = rng.integers(0, 6)
    found: dict[str, Any] = {}
    if kind in (1, 3):
        found["limit"] = near(-1.5, 0.3)
    if kind in (2, 3):
        found["stop"] = near(-0.3, 1.5)
    if kind == 4:
        found["trail" if rng.random() < 0.5 else "trail_rate"] = round(rng.uniform(0.005, 0.03), 3)
    if rng.random() < 0.4:
        found["take_profit"] = near(1.6, 3)
    if rng.random() < 0.4:
        found["stop_loss"] = near(-3, -0.2)
    elif rng.random() < 0.3:
        found["stop_trail"] = round(rng.uniform(0.2, 2), 1)
    return Conditions(day=bool(rng.random() < 0.2), reduce_only=bool(rng.random() < 0.1), **found)


def random_case(seed: int) -> tuple[Bars, dict[int, list[Any]], Terms]:
    """Bars in tenths with gaps, instructions and terms, all from one seed."""
    rng = np.random.default_rng(seed)
    closes = np.round(100 + np.cumsum(rng.normal(0, 0.7, BARS)), 1)
    opens = np.round(np.concatenate(([100.0], closes[:-1])) + rng.normal(0, 0.4, BARS), 1)
    highs = np.round(np.maximum(opens, closes) + rng.uniform(0, 1, BARS), 1)
    lows = np.round(np.minimum(opens, closes) - rng.uniform(0, 1, BARS), 1)
    bars = Bars(np.arange(BARS, dtype=np.int64) * HALF_DAY // 3, opens, highs, lows, closes, np.ones(BARS))
    plan: dict[int, list[Any]] = {}
    for bar in range(BARS):
        for _ in range(int(rng.choice([0, 0, 1, 1, 2]))):
            side = float(rng.choice([-1.0, 1.0]))
            conditions = random_conditions(rng, float(closes[bar]), side)
            linked = bool(plan.get(bar)) and bool(rng.random() < 0.3)
            plan.setdefault(bar, []).append(("order", side * float(rng.integers(1, 9)), conditions, linked))
        if rng.random() < 0.1:
            plan.setdefault(bar, []).append(("cancel", int(rng.integers(1, 40))))
    some = rng.random() < 0.5
    terms = Terms(
        commission_rate=0.001,
        commission_minimum=0.5 * some,
        spread=0.1 * some,
        slippage_random_rate=0.001 * some,
        slippage_seed=seed,
        leverage_max=float(rng.choice([1.0, 2.0, np.inf])),
        maintenance_margin=float(rng.choice([0.0, 0.45])) * some,
        borrow_rate=0.2 * some,
    ) if rng.random() < 0.8 else Terms()  # fmt: skip
    return bars, plan, terms


def with_links(plan: dict[int, list[Any]]) -> Any:
    """Actions for the engine, and the same plan with the ids that the orders really had, for the reference."""
    resolved: dict[int, list[Any]] = {}

    def act(bar: int) -> Any:
        def action(broker: Any) -> None:
            last = 0
            for instruction in plan[bar]:
                if instruction[0] == "cancel":
                    broker.cancel(instruction[1])
                    resolved.setdefault(bar, []).append(instruction)
                    last = 0
                    continue
                _, units, conditions, linked = instruction
                instead_of = last if linked else 0
                resolved.setdefault(bar, []).append(("order", units, conditions, instead_of))
                # Only pairs: a third order would join the group of the first two.
                last = broker.order(units, conditions, instead_of=instead_of)
                last = 0 if instead_of else last

        return action

    return {bar: act(bar) for bar in plan}, resolved


@pytest.mark.parametrize("part", range(10))
def test_all_kinds_of_orders_agree_with_the_reference(part: int) -> None:
    """Fills and accounts of random orders on random bars equal those of the second engine, to the bit."""
    fills = 0
    for seed in range(part * CASES // 10, (part + 1) * CASES // 10):
        bars, plan, terms = random_case(seed)
        actions, resolved = with_links(plan)
        engine = run(bars, actions, terms, cash=1500.0)
        reference = Reference(bars, resolved, terms, 1500.0).run()
        found = [tuple(asdict(fill).values()) for fill in engine.fills]
        assert found == reference.fills, seed
        curve = engine.curve
        marks = zip(curve.equity.tolist(), curve.cash.tolist(), curve.position.tolist(), strict=True)
        assert list(marks) == reference.marks, seed
        assert [order.order_id for order in engine.waiting] == [order.number for order in reference.line], (
            seed
        )
        outcome = engine.outcome
        assert (outcome.orders_refused, outcome.orders_expired, outcome.margin_calls) == (
            reference.refused, reference.expired, reference.calls,
        ), seed  # fmt: skip
        assert outcome.borrow_cost == reference.borrow_cost, seed
        fills += len(found)
    assert fills > CASES // 10 * 10
