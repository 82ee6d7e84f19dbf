"""What the report of a sweep tells about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.report.content import ReportContent
from milepost_backtester.sweep.figures import Direction, FigureTable, Places


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A parameter of the grid: its values, and which of them each combination has."""

    name: str
    labels: tuple[str, ...]
    """The values as words; numbers in their order, others as they first appear."""
    places: Integers
    """One for each combination."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class FoldContent:
    """One fold of a walk."""

    trained: tuple[int, int]
    """Nanoseconds of the first and the last bar."""
    traded: tuple[int, int]
    first_bar: int
    """Where it begins in the joined account."""
    combination: int
    in_sample: Mapping[str, Any]
    """Figures by name, as ``FigureTable.statistics`` gives them."""
    out_of_sample: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class WalkContent:
    """What was traded forward."""

    folds: tuple[FoldContent, ...]
    account: ReportContent
    """The joined account of all test windows."""
    averages: Floats
    """Of each combination: mean of the figure ranked by over the training windows that have one."""


@dataclass(frozen=True, slots=True, eq=False)
class SweepContent:
    """A finished sweep. Nothing in it depends on when, where or in how many parts it was computed."""

    title: str
    timestamp: Integers
    """Of all bars."""
    axes: tuple[Axis, ...]
    figures: FigureTable
    """Of each combination; of a walk over its last training window."""
    rank_by: str
    direction: Direction
    order: Places
    """Combinations from the best to the worst."""
    left_out: Mapping[str, int]
    spec: Mapping[str, Any]
    """Plain JSON values."""
    walk: WalkContent | None = None

    @property
    def values(self) -> Floats:
        """The figure ranked by; not a number where it is undefined."""
        return self.figures.figure(self.rank_by, 0, len(self.figures))


def axis_of(name: str, combinations: Sequence[Mapping[str, Any]]) -> Axis:
    """Return a parameter as the combinations have it."""
    values = [given[name] for given in combinations]
    keys = [canonical_json(value) for value in values]
    found = dict(zip(keys, values, strict=True))
    if all(_is_number(value) for value in found.values()):
        found = dict(sorted(found.items(), key=lambda item: item[1]))
    numbers = {key: place for place, key in enumerate(found)}
    labels = tuple(value_words(value) for value in found.values())
    return Axis(name, labels, np.array([numbers[key] for key in keys], dtype=np.int64))


def value_words(value: Any) -> str:
    """Return a parameter's value as people write it."""
    if _is_number(value):
        return f"{value:.10g}" if isinstance(value, float) else str(value)
    return value if isinstance(value, str) else canonical_json(value).decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
