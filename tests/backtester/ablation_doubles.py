"""What the ablation of the backtest's state runs: strategies that exercise every field, and engines for them."""

from dataclasses import replace
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.model import Model
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_backtester.strategies.trend_cross import TrendCross
from milepost_contracts.specs.strategies import EmaCrossParameters, SmaCrossParameters, TrendCrossParameters

from tests.backtester.acting_doubles import Risk
from tests.backtester.backtest_doubles import (
    Borrower,
    ScriptedScores,
    Trader,
    Wanderer,
    scripted_model,
)
from tests.backtester.portfolio_doubles import PortfolioTrader, holed, portfolio
from tests.support.bars import make_bars

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
INITIAL_CASH = 5_000.0


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


def each_sized_ema() -> EachSymbol:
    """Compiled, with the equity of all in view."""
    parameters = EmaCrossParameters(fast=3, slow=8, sizing="equity", quantity=0.3)
    return EachSymbol({symbol: EmaCross(parameters) for symbol in "abc"})


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
