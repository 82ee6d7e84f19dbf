"""A compiled ``on_bar`` of several symbols: as in Python to the last bit, cut anywhere, with the same errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.errors import OrderError, StateError
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.strategy import ActingRule
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.rotation import Rotation
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.strategies import RotationParameters, SmaCrossParameters

from tests.backtester.acting_doubles import ActingTrader, Risk, example_of
from tests.backtester.backtest_doubles import digest_of, through_json
from tests.backtester.golden_doubles import COLUMNS, ORDER, GeneratedPlan, PlannedActing, give
from tests.backtester.portfolio_doubles import PortfolioScript, holed, portfolio
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

COSTLY = Terms(commission_rate=0.001, spread=0.01, slippage_random_rate=0.001, borrow_rate=0.1)
STRICT = Terms(commission_fixed=0.5, leverage_max=2.0, maintenance_margin=0.3, borrow_rate=0.2)


def each(make: Callable[[int], Any], symbols: str = "abc") -> EachSymbol:
    return EachSymbol({name: make(place) for place, name in enumerate(symbols)})


def sized_cross(seed: int, sizing: str) -> SmaCross:
    """Looks back at bars of its own symbol, and at the equity of all."""
    quantity = 0.02 if sizing == "volatility" else 0.4
    parameters = {"fast": 2 + seed % 3, "slow": 6, "sizing": sizing, "quantity": quantity}
    return SmaCross(SmaCrossParameters.model_validate(parameters))


STRATEGIES: dict[str, Callable[[int], Any]] = {
    "all symbols, a rotation": lambda seed: Rotation(
        RotationParameters(
            lookback=1 + seed % 4, hold=1 + seed % 3, every=1 + seed % 5, rising_only=seed % 2 == 0
        )
    ),
    "each symbol, all orders": lambda seed: each(lambda place: ActingTrader(seed + place)),
    "each symbol, in another order": lambda seed: each(lambda place: ActingTrader(seed + place), "cab"),
    "each symbol, sized by volatility": lambda seed: each(
        lambda place: sized_cross(seed + place, "volatility")
    ),
    "each symbol, sized by equity": lambda seed: each(lambda place: sized_cross(seed + place, "equity")),
}


def engine_in(tier: Any, strategy: Any, bars: Any, terms: Terms, warm_up_bars: int = 0) -> BacktestingEngine:
    return BacktestingEngine(
        bars, strategy, initial_cash=5_000.0, terms=terms, tier=tier, warm_up_bars=warm_up_bars
    )


def done(*given_: Any) -> BacktestingEngine:
    engine = engine_in(*given_)
    engine.advance()
    return engine


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    seed=st.integers(1, 10_000),
    count=st.integers(8, 200),
    terms=st.sampled_from([COSTLY, STRICT]),
    warm_up=st.sampled_from([0, 5]),
)
@settings(max_examples=30, deadline=None)
def test_compiled_and_python_trade_the_same(
    name: str, seed: int, count: int, terms: Terms, warm_up: int
) -> None:
    """Everything that a run leaves is equal to the last bit, on bars with holes, late starts and early ends."""
    bars, make = portfolio(holed(seed, count)), STRATEGIES[name]
    engines = [done(tier, make(seed), bars, terms, warm_up) for tier in ("auto", "python")]
    assert [engine.tier for engine in engines] == ["compiled", "python"]
    assert digest_of(engines[0]) == digest_of(engines[1])


@given(seed=st.integers(1, 10_000), count=st.integers(8, 120), terms=st.sampled_from([COSTLY, STRICT]))
@settings(max_examples=30, deadline=None)
def test_orders_of_every_kind_for_all_symbols_fill_the_same(seed: int, count: int, terms: Terms) -> None:
    """Brackets, trailing stops, day orders, links across symbols: both tiers end alike, whole and cut."""
    plan = GeneratedPlan.of(seed, holed(seed, count))
    whole, python = (done(tier, PlannedActing(plan), plan.bars, terms) for tier in ("auto", "python"))
    assert (whole.tier, digest_of(whole)) == ("compiled", digest_of(python))
    first, second = (engine_in("auto", PlannedActing(plan), plan.bars, terms) for _ in range(2))
    first.advance(seed % count)
    second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
    second.advance()
    assert digest_of(second) == digest_of(whole)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_cut_after_any_bar_ends_the_same(name: str) -> None:
    """Memories and account, taken through JSON after any bar, lead a new engine to the same end."""
    bars, make = portfolio(holed(7, count=90)), STRATEGIES[name]
    expected = done("compiled", make(3), bars, COSTLY)
    assert len({fill.symbol for fill in expected.fills}) == 3
    for cut in range(len(bars) + 1):
        first, second = (engine_in("compiled", make(3), bars, COSTLY) for _ in range(2))
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == digest_of(expected), cut


@pytest.mark.parametrize("name", STRATEGIES)
def test_chunks_and_stops_change_nothing(name: str) -> None:
    """Across many chunks, with odd stops and tables that grow, the compiled run is the Python run."""
    bars, make = portfolio(holed(5, count=5_000)), STRATEGIES[name]
    engine = engine_in("compiled", make(4), bars, COSTLY)
    while engine.bar_index < engine.total_bars:
        engine.advance(engine.bar_index + 777)
    assert len(engine.trades) > 5
    assert digest_of(engine) == digest_of(done("python", make(4), bars, COSTLY))


class Impossible(PortfolioScript):
    """At bar 2 orders of a symbol, so many times; in Python once."""

    def __init__(self, symbol: int, quantity: float, times: int = 1) -> None:
        super().__init__({2: lambda broker: broker.order(quantity, symbol="abc"[symbol])})
        self._plan = np.full((times, COLUMNS), np.nan)
        self._plan[:, :3] = 2, ORDER, quantity
        self._plan[:, 11:] = 0, 0, -1, symbol

    def on_bars(self, bars: Any, broker: Any) -> None:
        """Order at bar 2."""
        super().on_bars(bars, broker)

    def acting_rule(self, symbols: tuple[str, ...]) -> ActingRule:
        """Return it."""
        assert symbols == ("a", "b", "c")
        return ActingRule(give, self._plan.ravel(), np.zeros(len(self._plan)))


@pytest.mark.parametrize(("symbol", "quantity"), [(0, 0.0), (2, np.nan), (1, 1.0)])
def test_an_impossible_order_has_the_words_of_the_python_tier(symbol: int, quantity: float) -> None:
    """No number, nothing, a symbol that has not begun: the bar is torn with the same error, warming up or not."""
    bars = portfolio(holed(1))
    words: list[str] = []
    for tier in ("compiled", "python"):
        engine = engine_in(tier, Impossible(symbol, quantity), bars, COSTLY)
        with pytest.raises(OrderError) as error:
            engine.advance()
        words.append(str(error.value))
        assert engine.bar_index == 2
    assert words[0] == words[1]
    if symbol == 1:
        with pytest.raises(OrderError, match="the symbol has no bar up to bar 2"):
            done("compiled", Impossible(symbol, quantity), bars, COSTLY, 5)


@pytest.mark.parametrize(
    ("symbol", "times", "words"),
    [
        (3, 1, "no symbol at place 3; there are 3"),
        (-1, 1, "no symbol at place -1; there are 3"),
        (0, 193, "more than 192 orders at bar 2"),
    ],
)
def test_other_faults_are_named(symbol: int, times: int, words: str) -> None:
    """A symbol that is not there, and more orders than 64 for each symbol, end the run; memory stays whole."""
    strategy = Impossible(symbol, 1.0, times)
    with pytest.raises(OrderError, match=words):
        done("compiled", strategy, portfolio(holed(1)), COSTLY)


def test_what_does_not_compile_together_runs_in_python() -> None:
    """Different functions, or wanted positions beside an on_bar: auto takes Python, compiled is refused."""
    bars = portfolio([make_bars(30), make_bars(30, seed=2)])
    for other, words in (
        (ActingTrader(), "the same on_bar for all"),
        (SmaCross(SmaCrossParameters()), "the same on_bar for all"),
        (PythonOnly(), "strategy of b offers no 'compiled'"),
    ):
        strategy = EachSymbol({"a": Risk(), "b": other})
        assert engine_in("auto", strategy, bars, COSTLY).tier == "python"
        with pytest.raises(ValueError, match=words):
            engine_in("compiled", strategy, bars, COSTLY)


class PythonOnly:
    """Buys at every bar."""

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Buy."""
        del bar
        broker.order(1.0)

    def state_dict(self) -> dict[str, Any]:
        """There is none."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """There is none."""


def test_a_state_of_other_symbols_is_refused() -> None:
    """Memories of three strategies do not fit an engine of two."""
    bars = holed(2)
    engine = engine_in("compiled", each(lambda _: Risk()), portfolio(bars), COSTLY)
    engine.advance(10)
    state = {**engine.state_dict(), "position": [0.0, 0.0], "lots": [], "waiting": []}
    other = engine_in("compiled", each(lambda _: Risk(), "ab"), portfolio(bars[:2]), COSTLY)
    logs = engine.logs
    logs.position = logs.position[:2]
    with pytest.raises(StateError, match="remember 4 numbers, not 6"):
        other.load_state_dict(state, logs)


def test_the_example_of_the_docs_trades_the_same_in_both_tiers(tmp_path: Path, monkeypatch: Any) -> None:
    """What docs/portfolios.md shows runs as it stands, trades both symbols, and its two forms agree."""
    module = example_of("portfolios.md", tmp_path, monkeypatch)
    bars = PortfolioBars.of(("ibm", "msft", "aapl"), holed(3, count=2_000))
    engines = [done(tier, module.Pair(module.PairParameters()), bars, COSTLY) for tier in ("auto", "python")]
    assert [engine.tier for engine in engines] == ["compiled", "python"]
    assert {fill.symbol for fill in engines[0].fills} == {0, 2}
    assert digest_of(engines[0]) == digest_of(engines[1])
