"""Strategies of a team: one that makes mistakes on command, one that always has orders waiting."""

import sys

from milepost_backtester.engine.orders import Conditions
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.model import ContractModel
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


class BracketerParameters(ContractModel):
    """How often to order."""

    every: int = 5


class Bracketer:
    """Every few bars a limit order with exits in each symbol, linked to a stop order in another one."""

    VERSION = "1"
    Parameters = BracketerParameters

    def __init__(self, parameters):
        self._every = parameters.every
        self._seen = 0

    def on_bars(self, bars, broker):
        self._seen += 1
        if self._seen % self._every or len(broker.waiting) > 30:
            return
        last = 0
        for name, bar in bars.items():
            side = 1.0 if (self._seen // self._every) % 2 else -1.0
            order_id = broker.order(
                side * 3.0,
                Conditions(
                    limit=bar.close - side * 0.6,
                    stop_trail=1.5,
                    take_profit=bar.close + side * 4,
                    day=self._seen % 3 == 0,
                ),
                symbol=name,
            )
            if last:
                broker.order(-side, Conditions(stop=bar.close - side * 2), symbol=name, instead_of=last)
            last = order_id

    def state_dict(self):
        return {"seen": self._seen}

    def load_state_dict(self, state):
        self._seen = state["seen"]


class EveryOrder:
    """Every kind of order in one symbol, with links and exits, from a generator of its own."""

    VERSION = "1"
    Parameters = BracketerParameters

    def __init__(self, parameters):
        self._every = parameters.every
        self._number = 17

    def on_bar(self, bar, broker):
        number = self._number = (self._number * 1103515245 + 12345) % 2**31
        if number // 5 % self._every or len(broker.waiting) > 30:
            return
        side = 1.0 if number // 13 % 2 else -1.0
        quantity, close = side * (number // 100 % 9 + 1), bar.close
        below, above = close - side * 0.4, close + side * 0.4
        plans = (
            (Conditions(limit=below, day=True),),
            (Conditions(stop=above, limit=close),),
            (Conditions(trail_rate=0.006),),
            (Conditions(limit=below, stop_trail=0.7, take_profit=close + 2 * side),),
            (Conditions(stop_loss=below, take_profit=close + side),),
            (Conditions(limit=below), Conditions(stop=above)),
        )
        plan = plans[number // 7 % len(plans)]
        first = broker.order(quantity, plan[0])
        for other in plan[1:]:
            broker.order(quantity, other, instead_of=first)

    def state_dict(self):
        return {"number": self._number}

    def load_state_dict(self, state):
        self._number = state["number"]
