"""What the backtester tests share: bars written by hand, small strategies, digests of what a run leaves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.strategies.model import CompiledModel, Model
from milepost_contracts.model import ContractModel
from milepost_contracts.specs.model_strategy import ModelParameters, with_thresholds
from milepost_runtime.digests import canonical_json, digest_of_bytes

from tests.support.bars import MINUTE


def bars_of(*rows: tuple[float, float, float, float]) -> Bars:
    """Bars written by hand as open, high, low, close."""
    columns = np.array(rows, dtype=np.float64).T.copy()
    times = np.arange(len(rows), dtype=np.int64) * MINUTE
    return Bars(times, *(np.ascontiguousarray(column) for column in columns), np.ones(len(rows)))


class Script:
    """Does what it is told at each bar."""

    def __init__(self, actions: Mapping[int, Callable[[Any], object]]) -> None:
        self._actions = actions
        self.seen: list[tuple[int, float]] = []

    def on_bar(self, bar: Any, broker: Any) -> None:
        self.seen.append((bar.index, bar.close))
        action = self._actions.get(bar.index)
        if action is not None:
            action(broker)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Wanderer:
    """Orders of many sizes and both directions from a generator of its own, whose state is one number."""

    def __init__(self, seed: int = 1, every: int = 3) -> None:
        self._number = seed
        self._every = every

    def on_bar(self, bar: Any, broker: Any) -> None:
        self._number = (self._number * 1103515245 + 12345) % 2**31
        if self._number // 7 % self._every == 0:
            broker.order(float(self._number // 100 % 41 - 20) or 5.0)
        if self._number // 11 % 7 == 0:
            broker.order(0.1 * (self._number // 1000 % 9 + 1) * (1 if self._number // 13 % 2 else -1))
        if self._number // 17 % 23 == 0:
            broker.target(0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"number": self._number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._number = state["number"]


class Trader(Wanderer):
    """Every kind of order, with links and exits, from the same generator."""

    def on_bar(self, bar: Any, broker: Any) -> None:
        number = self._number = (self._number * 1103515245 + 12345) % 2**31
        if number // 5 % self._every:
            return
        side = 1.0 if number // 13 % 2 else -1.0
        quantity, close = side * (number // 100 % 9 + 1), bar.close
        below, above = close - side * 0.4, close + side * 0.4
        match number // 7 % 12:
            case 0:
                broker.order(quantity)
            case 1:
                broker.order(quantity, Conditions(limit=below, day=True))
            case 2:
                broker.order(quantity, Conditions(stop=above))
            case 3:
                broker.order(quantity, Conditions(stop=above, limit=close))
            case 4:
                broker.order(quantity, Conditions(trail=0.8))
            case 5:
                broker.order(quantity, Conditions(trail_rate=0.006))
            case 6:
                broker.order(quantity, Conditions(stop_loss=below, take_profit=close + side))
            case 7:
                broker.order(quantity, Conditions(limit=below, stop_trail=0.7, take_profit=close + 2 * side))
            case 8:
                first = broker.order(quantity, Conditions(limit=below))
                broker.order(quantity, Conditions(stop=above), instead_of=first)
            case 9:
                broker.order(quantity, Conditions(limit=below, reduce_only=True))
            case 10:
                broker.target(0.0)
            case _:
                for order in broker.waiting[10:]:
                    broker.cancel(order.order_id)


class Borrower(Script):
    """Twice as much as it has, up and down; and stop-limit orders whose limit is far from their stop."""

    def __init__(self) -> None:
        super().__init__({})

    def on_bar(self, bar: Any, broker: Any) -> None:
        side = 1.0 if bar.index // 5 % 2 else -1.0
        if broker.position == 0 and bar.index % 5 == 0:
            broker.order(side * broker.units_for_fraction(1.9))
        if bar.index % 4 == 0 and len(broker.waiting) < 20:
            broker.order(side * 0.01, Conditions(stop=bar.close + side * 0.1, limit=bar.close - side * 2))


class Half(Wanderer):
    """No strategy to be registered: it has parameters and no version."""

    Parameters = ContractModel


def digest_of(engine: BacktestingEngine) -> str:
    """Digest of everything that a run leaves."""
    logs = engine.logs
    return digest_of_bytes(
        canonical_json(
            {
                "equity": logs.equity.tolist(),
                "cash": logs.cash.tolist(),
                "position": logs.position.tolist(),
                "fills": [asdict(fill) for fill in engine.fills],
                "trades": [asdict(trade) for trade in engine.trades],
                "waiting": [asdict(order) for order in engine.waiting],
                "outcome": asdict(engine.outcome),
            }
        )
    )


def through_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as a checkpoint would give it back."""
    return json.loads(canonical_json(dict(state)))


class ScriptedScores:
    """A model's scores as a test wrote them."""

    block_bars = 4

    def __init__(self, up: list[float], down: list[float]) -> None:
        self._up, self._down = np.array(up), np.array(down)

    def block(self, number: int) -> tuple[Any, Any]:
        return self.between(number * self.block_bars, (number + 1) * self.block_bars)

    def between(self, start: int, stop: int) -> tuple[Any, Any]:
        return self._up[start:stop], self._down[start:stop]


def scripted_model(scores: Any, **fields: Any) -> Model:
    """The strategy ``model`` over such scores; thresholds as for probabilities."""
    content = {"model": {"operation": "op-1"}, **fields}
    parameters = with_thresholds(ModelParameters.model_validate(content), ("down", "up"))
    kind = Model if parameters.sizing == "equity" else CompiledModel
    return kind(parameters, scores, digests={}, environment={})
