"""What a backtest was made of, for its results."""

from dataclasses import dataclass

from milepost_contracts.model import JsonObject

from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_bars import PortfolioBars


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What was run, as far as the engine does not know it."""

    title: str
    symbols: tuple[str, ...]
    """Names, in the order of the engine's symbols."""
    bars: Bars | PortfolioBars
    spec: JsonObject
    initial_cash: float
