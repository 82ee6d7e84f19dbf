"""A compiled ``on_bar``: the same trades as the Python one to the last bit, cut anywhere, with the same errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.desk import ORDERS_AT_A_BAR_MAX, Desk, order
from milepost_backtester.engine.errors import OrderError, TornBarError
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.strategy import ActingRule
from milepost_backtester.engine.terms import Terms

from tests.backtester.acting_doubles import ActingTrader, Risk, example_of
from tests.backtester.backtest_doubles import digest_of, through_json
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
COSTLY = Terms(commission_rate=0.001, spread=0.01, slippage_random_rate=0.001, borrow_rate=0.1)
STRICT = Terms(commission_fixed=0.5, leverage_max=2.0, maintenance_margin=0.3, borrow_rate=0.2)
STRATEGIES: dict[str, Callable[[int], Any]] = {
    "all kinds of orders": lambda seed: ActingTrader(seed),
    "by the equity": lambda seed: Risk(0.1 + seed % 20 / 10),
}


def engine_in(tier: Any, strategy: Any, bars: Any, terms: Terms) -> BacktestingEngine:
    return BacktestingEngine(bars, strategy, initial_cash=5_000.0, terms=terms, tier=tier)


def result_in(tier: Any, strategy: Any, bars: Any, terms: Terms) -> str:
    engine = engine_in(tier, strategy, bars, terms)
    engine.advance()
    return digest_of(engine)


@pytest.mark.parametrize("name", STRATEGIES)
@given(seed=st.integers(1, 10_000), count=st.integers(1, 400), terms=st.sampled_from([COSTLY, STRICT]))
@settings(max_examples=60, deadline=None)
def test_compiled_and_python_trade_the_same(name: str, seed: int, count: int, terms: Terms) -> None:
    """Fills, trades, marks, waiting orders and outcome are equal to the last bit on generated bars and terms."""
    bars, make = make_bars(count, seed, step=0.1), STRATEGIES[name]
    assert result_in("compiled", make(seed), bars, terms) == result_in("python", make(seed), bars, terms)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_cut_anywhere_ends_the_same(name: str) -> None:
    """Memory and account, taken through JSON after any bar, lead a new engine to the same end."""
    bars, make = make_bars(120, seed=12, step=0.2), STRATEGIES[name]
    expected = result_in("compiled", make(3), bars, COSTLY)
    for cut in range(len(bars) + 1):
        first, second = (engine_in("auto", make(3), bars, COSTLY) for _ in range(2))
        assert second.tier == "compiled"
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


def test_it_trades_and_tables_grow() -> None:
    """The comparisons above compare something, across many chunks and more rows than there is room at first."""
    bars = make_bars(20_000, seed=3, step=0.1)
    engine = engine_in("compiled", ActingTrader(7), bars, COSTLY)
    engine.advance()
    assert len(engine.trades) > 1_000
    assert digest_of(engine) == result_in("python", ActingTrader(7), bars, COSTLY)


@compiled
def impossible(desk: Desk, parameters: Any, memory: Any) -> None:
    """At bar 5: an order of these numbers, or too many, or instead of none."""
    memory[0] += 1
    if desk.bar != 5:
        return
    if parameters[0] == 1:
        for _ in range(ORDERS_AT_A_BAR_MAX):
            order(desk, 1.0)
    elif parameters[0] == 2:
        order(desk, 1.0, instead_of=77)
    else:
        order(desk, parameters[1], limit=parameters[2], stop_loss=parameters[3], take_profit=parameters[4])


class Impossible:
    """The same in Python, for the last of the three."""

    def __init__(self, *parameters: float) -> None:
        self._parameters = parameters

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Order at bar 5."""
        _, quantity, *prices = self._parameters
        if bar.index == 5:
            limit, stop_loss, take_profit = (None if price != price else price for price in prices)
            broker.order(quantity, Conditions(limit=limit, stop_loss=stop_loss, take_profit=take_profit))

    def acting_rule(self) -> ActingRule:
        """Return it."""
        return ActingRule(impossible, np.array(self._parameters), np.zeros(1))

    def state_dict(self) -> dict[str, Any]:
        """There is none."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """There is none."""


@pytest.mark.parametrize(
    "parameters",
    [
        (0, 0.0, np.nan, np.nan, np.nan),
        (0, np.nan, np.nan, np.nan, np.nan),
        (0, 1.0, -3.0, np.nan, np.inf),
        (0, 1.0, 5.0, 9.0, 8.0),
        (0, -1.0, 5.0, 7.0, 8.0),
    ],
)
def test_an_impossible_order_has_the_words_of_the_python_tier(parameters: tuple[float, ...]) -> None:
    """The bar is torn with the same error, the bars before it are done, and a state goes on from there."""
    bars = make_bars(20)
    words: list[str] = []
    for tier in ("compiled", "python"):
        engine = engine_in(tier, Impossible(*parameters), bars, COSTLY)
        start = engine.state_dict()
        with pytest.raises(OrderError) as error:
            engine.advance()
        words.append(str(error.value))
        assert engine.bar_index == 5
        with pytest.raises(TornBarError):
            engine.advance()
        engine.load_state_dict(start)
        assert engine.advance(5) == 5
    assert words[0] == words[1]


@pytest.mark.parametrize(("kind", "words"), [(1, "more than 64 orders"), (2, "order 77 does not wait")])
def test_other_faults_are_named(kind: int, words: str) -> None:
    """Too many orders at a bar, and a link to an order that is not there, end the run."""
    engine = engine_in("compiled", Impossible(kind, 1.0, np.nan, np.nan, np.nan), make_bars(20), COSTLY)
    with pytest.raises(OrderError, match=f"{words}.* at bar 5"):
        engine.advance()


def test_the_example_of_the_docs_trades_the_same_in_both_tiers(tmp_path: Path, monkeypatch: Any) -> None:
    """What docs/backtesting.md shows runs as it stands, trades, and its two forms agree."""
    module = example_of("backtesting.md", tmp_path, monkeypatch)
    bars = make_bars(5_000, seed=2, step=0.2)
    strategies = [module.Breakout(module.BreakoutParameters()) for _ in range(2)]
    engines = [
        engine_in(tier, strategy, bars, COSTLY)
        for tier, strategy in zip(("auto", "python"), strategies, strict=True)
    ]
    for engine in engines:
        engine.advance()
    assert engines[0].tier == "compiled"
    assert len(engines[0].trades) > 3
    assert digest_of(engines[0]) == digest_of(engines[1])


def test_it_is_loaded_from_disk_without_numba() -> None:
    """A process after the first one runs a compiled ``on_bar`` without importing its compiler."""
    program = """
import json, sys
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from tests.backtester.acting_doubles import Risk
from tests.support.bars import make_bars
engine = BacktestingEngine(make_bars(500), Risk())
engine.advance()
print(json.dumps([engine.tier, len(engine.fills), "numba" in sys.modules]))
"""
    answers = [
        json.loads(
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
        )
        for _ in range(2)
    ]
    assert answers[1][0] == "compiled"
    assert answers[1][1] > 0
    assert answers[1][2] is False
