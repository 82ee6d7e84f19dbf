"""What a report tells about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.statistics.figures import Statistics
from milepost_backtester.statistics.symbols import SymbolStatistics


@dataclass(frozen=True, slots=True, eq=False)
class FillMarks:
    """Where something was bought or sold; arrays of equal length, in the order of time."""

    bar: Integers
    quantity: Floats
    """Units; negative sold."""
    price: Floats


@dataclass(frozen=True, slots=True, eq=False)
class TradeMarks:
    """From where to where units were held; arrays of equal length."""

    entry_bar: Integers
    exit_bar: Integers
    entry_price: Floats
    exit_price: Floats
    pnl: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One symbol of the run and what was done with it."""

    name: str
    close: Floats
    """One for each bar: where the symbol has none the last one, 0 before the first."""
    fills: FillMarks
    trades: TradeMarks


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """A finished run. Nothing in it depends on when, where or in how many parts it was computed."""

    title: str
    timestamp: Integers
    """Nanoseconds since 1970-01-01 UTC, one for each bar."""
    equity: Floats
    instruments: tuple[Instrument, ...]
    statistics: Statistics
    spec: Mapping[str, Any]
    """Plain JSON values."""
    symbols: Mapping[str, SymbolStatistics] = field(default_factory=dict[str, SymbolStatistics])
    """Figures of each of several symbols."""
