"""Orders of every kind, at random, against a second engine made from the description; and impossible ones."""

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


def run(bars: Bars, actions: Any, terms: Terms | None = None, cash: float = GOLDEN_CASH) -> BacktestingEngine:
    engine = BacktestingEngine(bars, Script(actions), initial_cash=cash, terms=terms or Terms())
    engine.advance()
    return engine


QUIET = (100.0, 101.0, 99.0, 100.0)


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
