"""Random orders in several symbols end as those of the tests' own second engine."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.terms import Terms

from tests.backtester.portfolio_doubles import (
    PortfolioScript,
    holed,
    portfolio,
)
from tests.backtester.reference_engine import Reference
from tests.backtester.test_backtester_orders import random_conditions
from tests.backtester.test_backtester_portfolio import run

pytestmark = pytest.mark.unit

CASES = 400


def planned(seed: int, bars: list[Bars]) -> dict[int, list[Any]]:
    """Orders in symbols that have begun, and cancellations."""
    rng = np.random.default_rng(seed)
    times = np.unique(np.concatenate([part.timestamp for part in bars]))
    plan: dict[int, list[Any]] = {}
    for bar, time in enumerate(times):
        for _ in range(int(rng.choice([0, 1, 1, 2]))):
            symbol = int(rng.integers(len(bars)))
            past = bars[symbol].close[bars[symbol].timestamp <= time]
            side = float(rng.choice([-1.0, 1.0]))
            if len(past):
                conditions = random_conditions(rng, float(past[-1]), side)
                linked = bool(plan.get(bar)) and bool(rng.random() < 0.3)
                units = side * float(rng.integers(1, 9))
                plan.setdefault(bar, []).append(("order", units, conditions, linked, symbol))
        if rng.random() < 0.1:
            plan.setdefault(bar, []).append(("cancel", int(rng.integers(1, 40))))
    return plan


def acting(plan: dict[int, list[Any]]) -> tuple[Any, dict[int, list[Any]]]:
    """Actions for the engine, and the plan with the ids that the orders really had, for the reference."""
    resolved: dict[int, list[Any]] = {}

    def act(bar: int) -> Any:
        def action(broker: Any) -> None:
            last, found = 0, resolved.setdefault(bar, [])
            for instruction in plan[bar]:
                if instruction[0] == "cancel":
                    broker.cancel(instruction[1])
                    found.append(instruction)
                    last = 0
                    continue
                _, units, conditions, linked, symbol = instruction
                instead_of = last if linked else 0
                found.append(("order", units, conditions, instead_of, symbol))
                name = broker.symbols[symbol]
                last = broker.order(units, conditions, symbol=name, instead_of=instead_of)
                last = 0 if instead_of else last

        return action

    return {bar: act(bar) for bar in plan}, resolved


def terms_of(seed: int) -> Terms:
    rng = np.random.default_rng(seed + 10**6)
    return Terms(
        commission_rate=0.001,
        commission_minimum=0.5 * (seed % 2),
        spread=0.1 * (seed % 3),
        slippage_random_rate=0.001 * (seed % 2),
        slippage_seed=seed,
        leverage_max=float(rng.choice([1.0, 2.0, np.inf])),
        maintenance_margin=float(rng.choice([0.0, 0.45])),
        borrow_rate=0.2 * (seed % 2),
    )


@pytest.mark.parametrize("part", range(4))
def test_several_symbols_agree_with_the_reference(part: int) -> None:
    """Fills, accounts and outcomes of random orders in two to four symbols are the second engine's, to the bit."""
    fills = calls = refused = expired = 0
    for seed in range(part * CASES // 4, (part + 1) * CASES // 4):
        bars, terms = holed(seed, symbols=2 + seed % 3), terms_of(seed)
        actions, resolved = acting(planned(seed, bars))
        engine = run(portfolio(bars), PortfolioScript(actions), cash=1000.0, terms=terms)
        reference = Reference(bars, resolved, terms, 1000.0).run()
        assert [tuple(asdict(fill).values()) for fill in engine.fills] == reference.fills, seed
        curve = engine.curve
        marks = zip(curve.equity.tolist(), curve.cash.tolist(), *curve.position.tolist(), strict=True)
        assert list(marks) == reference.marks, seed
        waiting = [(order.order_id, order.symbol) for order in engine.waiting]
        assert waiting == [(order.number, order.symbol) for order in reference.line], seed
        outcome = engine.outcome
        assert asdict(outcome) == {
            "orders_refused": reference.refused,
            "orders_expired": reference.expired,
            "margin_calls": reference.calls,
            "borrow_cost": reference.borrow_cost,
        }, seed
        fills, calls = fills + len(engine.fills), calls + outcome.margin_calls
        refused, expired = refused + outcome.orders_refused, expired + outcome.orders_expired
    assert fills > CASES // 4 * 8
    assert min(calls, refused, expired) > 5
