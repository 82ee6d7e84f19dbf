"""``Trader`` and a bracket rule as compiled ``on_bar``: the same decisions, in the words of ``engine.desk``."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.desk import (
    Desk,
    cancel,
    close,
    equity,
    order,
    orders_waiting,
    position,
    target,
)
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.strategy import ActingRule

from tests.backtester.backtest_doubles import Trader

DOCS = Path(__file__).parents[2] / "docs"


def example_of(page: str, directory: Path, monkeypatch: Any) -> Any:
    """Return the one example of a page as a module."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    name = f"example_of_{page.removesuffix('.md')}"
    path = directory / f"{name}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@compiled
def trade(desk: Desk, parameters: Any, memory: Any) -> None:
    """Decide as ``Trader.on_bar`` does."""
    number = (int(memory[0]) * 1103515245 + 12345) % 2**31
    memory[0] = number
    if number // 5 % int(parameters[0]):
        return
    side = 1.0 if number // 13 % 2 else -1.0
    quantity, last = side * (number // 100 % 9 + 1), close(desk)
    below, above = last - side * 0.4, last + side * 0.4
    choice = number // 7 % 12
    if choice == 0:
        order(desk, quantity)
    elif choice == 1:
        order(desk, quantity, limit=below, day=True)
    elif choice == 2:
        order(desk, quantity, stop=above)
    elif choice == 3:
        order(desk, quantity, stop=above, limit=last)
    elif choice == 4:
        order(desk, quantity, trail=0.8)
    elif choice == 5:
        order(desk, quantity, trail_rate=0.006)
    elif choice == 6:
        order(desk, quantity, stop_loss=below, take_profit=last + side)
    elif choice == 7:
        order(desk, quantity, limit=below, stop_trail=0.7, take_profit=last + 2 * side)
    elif choice == 8:
        first = order(desk, quantity, limit=below)
        order(desk, quantity, stop=above, instead_of=first)
    elif choice == 9:
        order(desk, quantity, limit=below, reduce_only=True)
    elif choice == 10:
        target(desk, 0.0)
    else:
        cancel_beyond_ten(desk)


@compiled
def cancel_beyond_ten(desk: Desk) -> None:
    """Cancel what waited behind the tenth order; an entry takes its exits with it."""
    while orders_waiting(desk) > 10:
        cancel(desk, desk.account.orders[10].order_id)


class ActingTrader(Trader):
    """``Trader`` in both ways."""

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Decide as ``Trader`` does."""
        super().on_bar(bar, broker)

    def acting_rule(self) -> ActingRule:
        """Return the same, compiled."""
        return ActingRule(trade, np.array([float(self._every)]), np.array([float(self._number)]))


@compiled
def risk(desk: Desk, parameters: Any, memory: Any) -> None:
    """Enter with a bracket by a share of the equity when flat; ``memory``: equity at the last entry, entries."""
    last = desk.bars.close[0, desk.bar]
    if position(desk) == 0 and orders_waiting(desk) == 0 and equity(desk) != memory[0]:
        memory[0] = equity(desk)
        memory[1] += 1
        units = parameters[0] * equity(desk) / last
        order(desk, units, stop_loss=last * 0.99, take_profit=last * 1.02)


class Risk:
    """The same in Python."""

    def __init__(self, fraction: float = 0.5) -> None:
        self._fraction = fraction
        self._equity, self._entries = 0.0, 0.0

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Enter with a bracket when flat."""
        if broker.position == 0 and not broker.waiting and broker.equity != self._equity:
            self._equity = broker.equity
            self._entries += 1
            units = self._fraction * broker.equity / bar.close
            broker.order(units, Conditions(stop_loss=bar.close * 0.99, take_profit=bar.close * 1.02))

    def acting_rule(self) -> ActingRule:
        """Return the same, compiled."""
        return ActingRule(risk, np.array([self._fraction]), np.zeros(2))

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        return {"equity": self._equity, "entries": self._entries}

    def load_state_dict(self, state: Any) -> None:
        """Put it back."""
        self._equity, self._entries = state["equity"], state["entries"]
