"""The tables of a sweep's report: ranked combinations, folds, and what was left out."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from milepost_backtester.report.axes import short_time
from milepost_backtester.report.figures import Row, entry_of
from milepost_backtester.report.numbers import whole
from milepost_backtester.sweep.report.content import SweepContent, WalkContent

ROWS_MAX = 100
"""Combinations in the table; all of them are in combinations.parquet."""
FIGURES = ("total_return", "annual_return", "sharpe", "max_drawdown", "win_rate", "profit_factor", "trades")
"""What is told of a combination beside the figure ranked by."""
FOLD_FIGURES = ("total_return", "max_drawdown", "trades", "final_equity")
"""What is told of a fold out of sample, likewise."""
HEADLINES = ("total_return", "sharpe", "max_drawdown", "trades")
BEST_LETTERS_MAX = 18
"""Longer parameters of the best combination do not fit beside the other headlines."""
NONE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures."""

    words: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, and why it is none."""

    words: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One combination."""

    rank: int
    parameters: tuple[str, ...]
    figures: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class FoldRow:
    """One fold."""

    number: int
    trained: tuple[str, str]
    traded: tuple[str, str]
    """From when to when."""
    parameters: tuple[str, ...]
    inside: Cell
    """The figure ranked by, where the combination was chosen."""
    outside: tuple[Cell, ...]
    """The same where it traded, and what else is told."""


def figures_shown(rank_by: str, others: tuple[str, ...] = FIGURES) -> tuple[str, ...]:
    """Return the names of the figures in a table: the one ranked by comes first."""
    return tuple(dict.fromkeys((rank_by, *others)))


def columns_of(names: tuple[str, ...]) -> tuple[Column, ...]:
    """Return the heads of figures."""
    return tuple(Column(words, meaning) for words, _, meaning in map(entry_of, names))


def ranked_columns(content: SweepContent) -> tuple[Column, ...]:
    """Return the heads of the ranked table, without those of the parameters."""
    columns = columns_of(figures_shown(content.rank_by))
    if content.walk is None:
        return columns
    folds = len(content.walk.folds)
    mean = Column("Mean", f"of the {columns[0].words} over the {folds} training windows, where it is defined")
    return (columns[0], mean, Column("Chosen", "in how many folds it was the best"), *columns[1:])


def ranked_rows(content: SweepContent) -> tuple[RankedRow, ...]:
    """Return the best combinations, the best one first."""
    names = figures_shown(content.rank_by)
    chosen = Counter(fold.combination for fold in content.walk.folds) if content.walk else Counter[int]()
    return tuple(
        RankedRow(
            rank,
            parameters_of(content, place),
            _ranked_cells(content, place, names, chosen[place]),
        )
        for rank, place in enumerate(content.order[:ROWS_MAX].tolist(), 1)
    )


def parameters_of(content: SweepContent, combination: int) -> tuple[str, ...]:
    """Return a combination's values of the grid's parameters."""
    return tuple(axis.labels[axis.places.item(combination)] for axis in content.axes)


def fold_rows(content: SweepContent, walk: WalkContent, *, with_clock: bool) -> tuple[FoldRow, ...]:
    """Return the folds in their order."""
    names = figures_shown(content.rank_by, FOLD_FIGURES)

    def span(ends: tuple[int, int]) -> tuple[str, str]:
        return short_time(ends[0], with_clock=with_clock), short_time(ends[1], with_clock=with_clock)

    return tuple(
        FoldRow(
            number,
            span(fold.trained),
            span(fold.traded),
            parameters_of(content, fold.combination),
            _cell(fold.in_sample, content.rank_by),
            tuple(_cell(fold.out_of_sample, name) for name in names),
        )
        for number, fold in enumerate(walk.folds, 1)
    )


def headline_rows(content: SweepContent) -> tuple[Row, ...]:
    """Return what comes first: of a walk what was traded, else the best combination."""
    names = figures_shown(content.rank_by, HEADLINES)[:4]
    count = whole(len(content.order))
    if content.walk is None:
        figures = content.figures.statistics(int(content.order[0]))
        best = Row("Best: " + ", ".join(axis.name for axis in content.axes), _best_words(content), "")
        first = (Row("Combinations", count, ""), *((best,) if len(best.value) <= BEST_LETTERS_MAX else ()))
        return (*first, *(_headline(figures, name, "") for name in names))
    statistics = content.walk.account.statistics
    found = {name: getattr(statistics, name) for name in names} | {"undefined": statistics.undefined}
    folds = Row("Folds", f"{whole(len(content.walk.folds))} \N{MULTIPLICATION SIGN} {count}", "")
    return (folds, *(_headline(found, name, ", traded") for name in names))


def mean_of(content: SweepContent, combination: int) -> str:
    """Return a combination's mean over the training windows."""
    return "" if content.walk is None else _written(content.walk.averages.item(combination), content.rank_by)


def writer_of(name: str) -> Callable[[float], str]:
    """Return how a figure is written."""
    return entry_of(name)[1]


def _best_words(content: SweepContent) -> str:
    return ", ".join(parameters_of(content, int(content.order[0])))


def _headline(figures: Mapping[str, Any], name: str, suffix: str) -> Row:
    return Row(f"{entry_of(name)[0]}{suffix}", _cell(figures, name).words, "")


def _ranked_cells(content: SweepContent, place: int, names: tuple[str, ...], chosen: int) -> tuple[Cell, ...]:
    figures = content.figures.statistics(place)
    cells = tuple(_cell(figures, name) for name in names)
    if content.walk is None:
        return cells
    return (cells[0], Cell(mean_of(content, place)), Cell(str(chosen) if chosen else ""), *cells[1:])


def _cell(figures: Mapping[str, Any], name: str) -> Cell:
    value = figures[name]
    if value is None:
        return Cell(NONE, f"undefined: {figures['undefined'][name]}")
    return Cell(_written(value, name))


def _written(value: float, name: str) -> str:
    return NONE if value != value else writer_of(name)(value)
