"""The table of several symbols."""

from collections.abc import Mapping
from dataclasses import dataclass

from milepost_backtester.report.numbers import decimal, money, percent, ratio, whole
from milepost_backtester.statistics.symbols import SymbolStatistics

NONE = "\N{EN DASH}"
SYMBOL_WORDS: tuple[tuple[str, str], ...] = (
    ("Profit", "what its fills left and what is held at the end is worth, less commission"),
    ("Round trips", "entries with their exits, first in first out"),
    ("Win rate", "share of the trades with a profit"),
    ("Profit factor", "sum of profits / sum of losses"),
    ("Fees", "commission of its fills"),
    ("Exposure", "share of the bars with a position in it"),
    ("Held at the end", "units"),
    ("Buy and hold", "last close / first close - 1, without costs"),
)
"""Columns, and what they mean."""


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """One symbol."""

    name: str
    figures: tuple[str, ...]
    """In the order of ``SYMBOL_WORDS``."""
    won: bool


def symbol_rows(symbols: Mapping[str, SymbolStatistics]) -> tuple[SymbolRow, ...]:
    """Return the symbols with their figures as words."""
    return tuple(_row(name, figures) for name, figures in symbols.items())


def _row(name: str, figures: SymbolStatistics) -> SymbolRow:
    words = (
        money(figures.profit),
        whole(figures.trades),
        NONE if figures.win_rate is None else percent(figures.win_rate),
        NONE if figures.profit_factor is None else ratio(figures.profit_factor),
        money(figures.fees),
        percent(figures.exposure),
        decimal(figures.open_position),
        NONE if figures.benchmark_return is None else percent(figures.benchmark_return),
    )
    return SymbolRow(name, words, figures.profit >= 0)
