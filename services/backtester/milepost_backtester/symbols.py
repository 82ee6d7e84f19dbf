"""The symbols of a spec: their names, their bars, and the strategy that trades them."""

from collections.abc import Mapping
from pathlib import Path

from milepost_contracts.datasets import DatasetReference
from milepost_contracts.specs.backtest import BacktestSpec
from pydantic import BaseModel

from milepost_backtester.bar_cache import BarCache
from milepost_backtester.bar_table import BarProblemsError
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.errors import BarsError
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol, PortfolioStrategy
from milepost_backtester.engine.strategy import Strategy
from milepost_backtester.market_data import load_bars
from milepost_backtester.strategies.inputs import StrategyInputs, strategy_of
from milepost_backtester.strategies.registry import StrategyClass


def names_of(spec: BacktestSpec) -> tuple[str, ...]:
    """Return what the symbols are called: as their datasets, or by the beginning of the digest."""
    return tuple(reference.name or (reference.digest or "")[:19] for reference in spec.datasets)


def load_symbols(
    spec: BacktestSpec, inputs: Mapping[str, Path], strategy: StrategyClass, cache: BarCache | None = None
) -> Bars | PortfolioBars:
    """Return the bars as the strategy needs them: several symbols, and one for ``on_bars``, on a common timeline.

    ``cache``: where bars that were loaded before may be found.

    Raises:
        ValueError: bars are not there, unusable or without a time in common; every problem is named.
    """
    names = names_of(spec)
    loaded: list[Bars] = []
    problems: list[str] = []
    for name, reference in zip(names, spec.datasets, strict=True):
        try:
            loaded.append(_load(reference, name, inputs, cache))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    if isinstance(spec.data, DatasetReference) and hasattr(strategy, "on_bar"):
        return loaded[0]
    try:
        return PortfolioBars.of(names, loaded)
    except BarsError as error:
        raise ValueError(f"spec.data: {error}") from error


def strategy_for(
    bars: Bars | PortfolioBars,
    names: tuple[str, ...],
    strategy: StrategyClass,
    parameters: BaseModel,
    files: Mapping[str, Path],
) -> Strategy | PortfolioStrategy:
    """Return the strategy in its first state; one of a single symbol is applied to each.

    Raises:
        ValueError: something that it is made from is missing or unusable.
    """
    if isinstance(bars, Bars):
        return strategy_of(strategy, parameters, StrategyInputs(bars, names[0], files))
    if hasattr(strategy, "on_bars"):
        return strategy(parameters)
    return EachSymbol(
        {
            name: strategy_of(strategy, parameters, StrategyInputs(own, name, files))
            for name, own in zip(names, bars.own, strict=True)
        }
    )


def data_fingerprint(spec: BacktestSpec) -> dict[str, str]:
    """Return which bars a checkpoint belongs to; those of several symbols by name, in their order."""
    if isinstance(spec.data, DatasetReference):
        return {"data": str(spec.data.digest)}
    names = names_of(spec)
    digests = {f"data.{name}": str(each.digest) for name, each in zip(names, spec.datasets, strict=True)}
    return {"symbols": " ".join(names), **digests}


def _load(reference: DatasetReference, name: str, inputs: Mapping[str, Path], cache: BarCache | None) -> Bars:
    if reference.digest is None or reference.digest not in inputs:
        raise ValueError(f"spec.data: the bars of {name} are not among the inputs")
    try:
        path = inputs[reference.digest]
        return load_bars(path) if cache is None else cache.load(path, reference.digest)
    except BarProblemsError as error:
        raise ValueError(f"spec.data: {name}: {error}") from error
