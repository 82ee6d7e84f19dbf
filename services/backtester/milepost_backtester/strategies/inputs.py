"""What a strategy may be made from beside its parameters: the bars it will see, and files that its spec names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from milepost_backtester.strategies.registry import StrategyClass

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bars
    from milepost_backtester.engine.strategy import Strategy


@dataclass(frozen=True, slots=True, eq=False)
class StrategyInputs:
    """Of one run. A strategy must not let a decision depend on bars after the one it decides at."""

    bars: "Bars"
    symbol: str
    """Name of the bars' dataset."""
    files: Mapping[str, Path]
    """Verified local files by digest."""


@runtime_checkable
class InputStrategyClass(Protocol):
    """A strategy class that is made from more than its parameters."""

    def with_inputs(self, parameters: Any, inputs: StrategyInputs) -> "Strategy":
        """Return the strategy in its first state.

        Raises:
            ValueError: an input is missing or unusable; the message goes to the user as it is.
        """
        ...


@runtime_checkable
class FingerprintedStrategy(Protocol):
    """A strategy whose decisions rest on more than its parameters and the bars."""

    fingerprint: Mapping[str, str]
    """What it computes with, such as a model's digest; part of every checkpoint's fingerprint."""
    environment: Mapping[str, str]
    """Where it computes, as far as that decides last bits: versions, kind of processor."""


def strategy_of(strategy: StrategyClass, parameters: Any, inputs: StrategyInputs) -> "Strategy":
    """Return the strategy in its first state, made from the run's inputs if it wants them.

    Raises:
        ValueError: an input is missing or unusable.
    """
    if isinstance(strategy, InputStrategyClass):
        return strategy.with_inputs(parameters, inputs)
    return strategy(parameters)
