"""Have everything compiled before it is needed: once for an installation, then it is read from the disk."""

from typing import Any

import numpy as np
from milepost_contracts.specs.strategies import SmaCrossParameters

from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.native import run_scheduled_call
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.strategies import model_signals
from milepost_backtester.strategies.bollinger import Bollinger
from milepost_backtester.strategies.buy_and_hold import BuyAndHold
from milepost_backtester.strategies.donchian_breakout import DonchianBreakout
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.rotation import Rotation
from milepost_backtester.strategies.rsi_reversion import RsiReversion
from milepost_backtester.strategies.sma_cross import SmaCross

LIBRARY: tuple[Any, ...] = (SmaCross, EmaCross, RsiReversion, DonchianBreakout, Bollinger, BuyAndHold)


def prepare_rules() -> None:
    """Compile the engine's rules and those of the library, or load them."""
    run_scheduled_call()
    price = np.ones(2)
    bars = Bars(np.arange(2), price, price, price, price, price)
    for strategy in LIBRARY:
        BacktestingEngine(bars, strategy(strategy.Parameters()), tier="compiled").advance()
    sized = SmaCross(SmaCrossParameters(sizing="equity", quantity=1.0))
    several = PortfolioBars.of(("one",), (bars,))
    BacktestingEngine(bars, sized, tier="compiled").advance()
    BacktestingEngine(several, EachSymbol({"one": sized}), tier="compiled").advance()
    BacktestingEngine(several, Rotation(Rotation.Parameters()), tier="compiled").advance()
    model_signals.prepare()


if __name__ == "__main__":
    prepare_rules()
