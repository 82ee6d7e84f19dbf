"""Strategies of teams: found by entry point, checked, and no danger to each other."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from milepost_backtester.strategies import registry
from milepost_backtester.strategies.preparation import prepare_rules
from milepost_backtester.strategies.registry import (
    ENTRY_POINT_GROUP,
    StrategyProblemsError,
    find_strategy,
    make_strategy,
    parameter_schemas,
)
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import StrategySpec

pytestmark = pytest.mark.unit

Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Stand-in for what is installed: entry points by name."""

    def set_entries(**values: str) -> None:
        entries = [EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in values.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(entries))

    return set_entries


def test_installed_strategies_are_found() -> None:
    """The SMA cross is registered by its own distribution and can be made from a spec."""
    assert "sma-cross" in parameter_schemas()
    assert find_strategy("sma-cross") is SmaCross
    assert isinstance(make_strategy(StrategySpec()), SmaCross)


def test_a_broken_module_does_not_take_others_away(register: Register) -> None:
    """Descriptions leave out a strategy that cannot be imported; asking for it names the cause."""
    register(broken="no_such_module:Strategy", fine="milepost_backtester.strategies.sma_cross:SmaCross")
    assert list(parameter_schemas()) == ["fine"]
    with pytest.raises(StrategyProblemsError, match="no_such_module"):
        find_strategy("broken")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fractions:Fraction", "no pydantic model `Parameters`"),
        ("tests.backtester.backtest_doubles:Half", "VERSION"),
        ("tests.backtester.portfolio_doubles:Blind", "lacks on_bar or on_bars"),
    ],
)
def test_a_class_that_is_no_strategy_is_refused(register: Register, value: str, words: str) -> None:
    """What lacks a part of the protocol is refused with the part named."""
    register(half=value)
    with pytest.raises(StrategyProblemsError, match=words):
        find_strategy("half")


def test_every_wrong_parameter_is_named() -> None:
    """All faults come at once, with their paths."""
    wrong: dict[str, Any] = {"fast": -1, "quantity": 0, "unknown": 1}
    with pytest.raises(StrategyProblemsError) as refusal:
        make_strategy(StrategySpec(parameters=wrong))
    assert {problem.field for problem in refusal.value.problems} == {
        f"strategy.parameters.{name}" for name in wrong
    }


def test_the_engine_alone_loads_nothing_of_the_rest() -> None:
    """Engine and strategy work in a process where no runtime, pyarrow or pandas is loaded, and no compiler."""
    prepare_rules()
    code = """
import sys
import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.strategies.preparation import prepare_rules
from milepost_backtester.strategies.sma_cross import SmaCross, SmaCrossParameters
prices = 100 + np.sin(np.arange(300.0))
engine = BacktestingEngine(
    Bars(np.arange(300), prices, prices, prices, prices, prices), SmaCross(SmaCrossParameters(fast=2, slow=5))
)
engine.advance()
assert engine.trades
rest = ("milepost_runtime", "pyarrow", "pandas", "nats", "asyncio", "numba")
print([name for name in rest if name in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
