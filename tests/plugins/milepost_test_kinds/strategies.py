"""A strategy of a team that makes mistakes on command."""

import sys

from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters


class FaultyParameters(SmaCrossParameters):
    """SMA cross with a wrong line in it."""

    raise_at: int = 100
    exits: bool = False
    """Calls ``sys.exit`` instead of raising."""


class Faulty(SmaCross):
    """Trades like SmaCross until bar ``raise_at``."""

    VERSION = "1"
    Parameters = FaultyParameters

    def on_bar(self, bar, broker):
        if bar.index == self._parameters.raise_at:
            if self._parameters.exits:
                sys.exit(f"enough at bar {bar.index}")
            raise RuntimeError(f"wrong line reached at bar {bar.index}")
        super().on_bar(bar, broker)
