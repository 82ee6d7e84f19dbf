"""Sizes of the library's positions: by hand, in both tiers, cut anywhere, refused where impossible."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.bollinger import Bollinger
from milepost_backtester.strategies.buy_and_hold import BuyAndHold
from milepost_backtester.strategies.donchian_breakout import DonchianBreakout
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.registry import StrategyProblemsError, make_strategy, parameter_schemas
from milepost_backtester.strategies.rsi_reversion import RsiReversion
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_backtester.strategies.trend_cross import TrendCross
from milepost_contracts.specs.backtest import StrategySpec
from milepost_contracts.specs.strategies import (
    BollingerParameters,
    BuyAndHoldParameters,
    DonchianBreakoutParameters,
    EmaCrossParameters,
    RsiReversionParameters,
    SmaCrossParameters,
    TrendCrossParameters,
)

from tests.backtester.backtest_doubles import bars_of, digest_of, through_json
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

TERMS = Terms(commission_rate=0.001, spread=0.01, leverage_max=3.0, maintenance_margin=0.2, borrow_rate=0.1)
RULES: dict[str, Callable[..., Any]] = {
    "sma-cross": lambda **more: SmaCross(SmaCrossParameters(fast=3, slow=8, allow_short=True, **more)),
    "ema-cross": lambda **more: EmaCross(EmaCrossParameters(fast=3, slow=8, allow_short=True, **more)),
    "rsi-reversion": lambda **more: RsiReversion(
        RsiReversionParameters(period=5, enter=40, leave=55, **more)
    ),
    "donchian-breakout": lambda **more: DonchianBreakout(
        DonchianBreakoutParameters(enter=9, leave=4, allow_short=True, **more)
    ),
    "bollinger": lambda **more: Bollinger(BollingerParameters(window=12, deviations=1.5, **more)),
    "buy-and-hold": lambda **more: BuyAndHold(BuyAndHoldParameters(**more)),
}
TREND = "trend-cross"
SIZES: dict[str, dict[str, Any]] = {
    "cash": {"sizing": "cash", "quantity": 900.0},
    "equity": {"sizing": "equity", "quantity": 0.7},
    "target": {"sizing": "target", "quantity": 0.9, "tolerance": 0.02},
    "volatility": {"sizing": "volatility", "quantity": 0.002, "range_bars": 11},
}


def trend(**more: Any) -> TrendCross:
    return TrendCross(TrendCrossParameters(fast=3, slow=8, timeframe="15m", trend_bars=2, **more))


def engine_in(tier: Any, strategy: Any, bars: Any, **more: Any) -> BacktestingEngine:
    return BacktestingEngine(bars, strategy, initial_cash=5_000.0, terms=TERMS, tier=tier, **more)


def result_in(tier: Any, strategy: Any, bars: Any) -> str:
    engine = engine_in(tier, strategy, bars)
    engine.advance()
    return digest_of(engine)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 300))
@settings(max_examples=5, deadline=None)
def test_compiled_and_python_size_the_same(name: str, size: str, seed: int, count: int) -> None:
    """Every rule with every size ends the same in both tiers, to the last bit."""
    bars = make_bars(count, seed, step=0.3)
    strategies = [RULES[name](**SIZES[size]) for _ in range(2)]
    assert result_in("compiled", strategies[0], bars) == result_in("python", strategies[1], bars)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "tier"), [*((name, "auto") for name in RULES), (TREND, "python")])
def test_a_run_cut_anywhere_ends_the_same(name: str, tier: Any, size: str) -> None:
    """A state taken after any bar leads a new engine to the same end; sides are entered before and after it."""
    make, bars = RULES.get(name, trend), make_bars(60, seed=12, step=0.3)
    expected = result_in(tier, make(**SIZES[size]), bars)
    for cut in range(len(bars) + 1):
        first, second = (engine_in(tier, make(**SIZES[size]), bars) for _ in range(2))
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


def test_a_long_run_trades_and_is_the_same() -> None:
    """Across many chunks both tiers agree on thousands of fills, each with a size of its own."""
    bars = make_bars(20_000, seed=5, step=0.1)
    engine = engine_in("auto", RULES["sma-cross"](**SIZES["equity"]), bars)
    assert engine.tier == "compiled"
    engine.advance()
    assert len({abs(trade.quantity) for trade in engine.trades}) > 500
    assert digest_of(engine) == result_in("python", RULES["sma-cross"](**SIZES["equity"]), bars)


STEADY = bars_of((10, 11, 9, 10), (10, 10.5, 9.5, 10), (20, 21, 19, 20), (20, 26, 20, 25), (25, 25, 25, 25))


@pytest.mark.parametrize("tier", ["compiled", "python"])
@pytest.mark.parametrize(
    ("parameters", "fills"),
    [
        # 500 of money at a close of 10 are 50 units.
        ({"sizing": "cash", "quantity": 500.0}, [(1, 50.0)]),
        # A quarter of 1 000 at a close of 10; it stays.
        ({"sizing": "equity", "quantity": 0.25}, [(1, 25.0)]),
        # It is 1 250 at a close of 20, of which a quarter are 15.625 units; 1 328.125 at 25 are 13.28125.
        ({"sizing": "target", "quantity": 0.25, "tolerance": 0.1}, [(1, 25.0), (3, -9.375), (4, -2.34375)]),
        # 13.28125 are less than a fifth away from 15.625.
        ({"sizing": "target", "quantity": 0.25, "tolerance": 0.2}, [(1, 25.0), (3, -9.375)]),
        # True ranges 1 and 11 (from the close of 10 to the high of 21): 6 on average, which may cost 6 of 1 000.
        ({"sizing": "volatility", "quantity": 0.006, "range_bars": 2}, [(3, 1.0)]),
    ],
)
def test_sizes_by_hand(parameters: dict[str, Any], fills: list[tuple[int, float]], tier: Any) -> None:
    """Units at each fill are those of the arithmetic in the comments."""
    strategy = BuyAndHold(BuyAndHoldParameters(**parameters))
    engine = BacktestingEngine(STEADY, strategy, initial_cash=1_000.0, tier=tier)
    engine.advance()
    assert [(fill.bar, fill.quantity) for fill in engine.fills] == fills


@pytest.mark.parametrize("tier", ["compiled", "python"])
def test_nothing_is_bought_with_what_is_lost(tier: Any) -> None:
    """With a negative equity a share of it is nothing, not a position the other way round."""
    bars = bars_of(*[(10, 10, 10, 10)] * 2, *[(1, 1, 1, 1)] * 3)
    strategy = BuyAndHold(BuyAndHoldParameters(sizing="target", quantity=5.0))
    engine = BacktestingEngine(bars, strategy, initial_cash=1_000.0, tier=tier)
    engine.advance()
    assert engine.equity[2] < 0
    assert [fill.quantity for fill in engine.fills] == [500.0, -500.0]


@pytest.mark.parametrize("tier", ["auto", "python"])
def test_of_several_symbols_the_equity_is_that_of_all(tier: Any) -> None:
    """Sizes see the account together, compiled by themselves and in Python."""
    parts: list[Bars] = [make_bars(200, seed=1), make_bars(200, seed=2)]
    strategy = EachSymbol({name: RULES["buy-and-hold"](**SIZES["equity"]) for name in "ab"})
    engine = BacktestingEngine(PortfolioBars.of(("a", "b"), parts), strategy, initial_cash=1_000.0, tier=tier)
    assert engine.tier == ("compiled" if tier == "auto" else "python")
    engine.advance()
    assert [fill.quantity for fill in engine.fills] == [700 / part.close[0] for part in parts]


@pytest.mark.parametrize("name", [*RULES, TREND])
def test_every_rule_has_them_and_says_what_they_are(name: str) -> None:
    """The schema that `milepost workers` and the pages show has all kinds, with words."""
    properties: Any = parameter_schemas()[name]["properties"]
    assert properties["sizing"]["enum"] == ["units", "cash", "equity", "target", "volatility"]
    assert all(
        properties[field]["description"] for field in ("sizing", "quantity", "tolerance", "range_bars")
    )


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ({"sizing": "equity"}, "quantity", "at most 10, not 100"),
        ({"sizing": "volatility", "quantity": 1.5}, "quantity", "at most 1, not 1.5"),
        ({"sizing": "target", "quantity": 0}, "quantity", "greater than 0"),
        ({"sizing": "shares"}, "sizing", "'units', 'cash', 'equity'"),
        ({"tolerance": 0.2}, "tolerance", "counts only with sizing target"),
        ({"sizing": "cash", "range_bars": 20}, "range_bars", "counts only with sizing volatility"),
    ],
)
def test_impossible_sizes_are_named(parameters: dict[str, Any], field: str, words: str) -> None:
    """The refusal names the field and says what it may be."""
    with pytest.raises(StrategyProblemsError) as refusal:
        make_strategy(StrategySpec(parameters=parameters))
    found = {problem.field: problem.message for problem in refusal.value.problems}
    assert words in found[f"strategy.parameters.{field}"]
