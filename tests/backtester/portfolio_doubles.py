"""What the tests of several symbols share: bars with holes, plans of orders, strategies that trade all of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_contracts.model import ContractModel

from tests.backtester.backtest_doubles import Trader
from tests.support.bars import make_bars

FOUR_HOURS = 4 * 3600 * 10**9
Plan = dict[int, list[Any]]


def some_rows(bars: Bars, kept: Any) -> Bars:
    """The bars at some places."""
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(*(np.ascontiguousarray(column[kept]) for column in columns))


def spaced(bars: Bars, nanoseconds: int) -> Bars:
    """The bars at another distance, from 2024-01-01 on."""
    times = np.arange(len(bars), dtype=np.int64) * nanoseconds + 1_704_067_200 * 10**9
    return Bars(times, bars.open, bars.high, bars.low, bars.close, bars.volume)


def holed(seed: int, count: int = 40, symbols: int = 3) -> list[Bars]:
    """Bars of some symbols four hours apart: some miss one in four times, one begins late, one may end early."""
    rng = np.random.default_rng(seed)
    found: list[Bars] = []
    for symbol in range(symbols):
        places = np.arange(count)
        kept = rng.random(count) < (1.0 if symbol == 0 and seed % 2 else 0.75)
        if symbol == 1:
            kept &= places >= count // 4
        if symbol == 2 and seed % 3:
            kept &= places < count - count // 4
        kept[count // 2] = True
        found.append(some_rows(spaced(make_bars(count, seed * 10 + symbol), FOUR_HOURS), kept))
    return found


def portfolio(bars: list[Bars]) -> PortfolioBars:
    """Named a, b, c."""
    return PortfolioBars.of("abcdefgh"[: len(bars)], bars)


class PortfolioScript:
    """Does what it is told at each time."""

    def __init__(self, actions: Mapping[int, Callable[[Any], object]]) -> None:
        self._actions = actions
        self.seen: list[tuple[int, dict[str, float]]] = []

    def on_bars(self, bars: Mapping[str, Any], broker: Any) -> None:
        index = next(iter(bars.values())).index
        self.seen.append((index, {name: bar.close for name, bar in bars.items()}))
        action = self._actions.get(index)
        if action is not None:
            action(broker)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class PortfolioTrader:
    """Every kind of order in every symbol, with links across symbols; the state is one number."""

    def __init__(self, seed: int = 1, every: int = 2) -> None:
        self._trader = Trader(seed, every)

    def on_bars(self, bars: Mapping[str, Any], broker: Any) -> None:
        for name, bar in bars.items():
            self._trader.on_bar(bar, broker.of(name))
        number = self._trader.state_dict()["number"]
        if number % 7 == 0 and len(bars) > 1:
            first, second = list(bars)[:2]
            order_id = broker.order(3.0, Conditions(limit=bars[first].close - 0.3), symbol=first)
            broker.order(-2.0, Conditions(stop=bars[second].close - 0.3), symbol=second, instead_of=order_id)

    def state_dict(self) -> dict[str, Any]:
        return self._trader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._trader.load_state_dict(state)


class Blind:
    """No strategy: it sees no bars."""

    VERSION = "1"
    Parameters = ContractModel

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
