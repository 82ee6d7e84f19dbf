"""The figure ranked by over one or two parameters: the best that the others allow, and its shade.

Long axes are pooled: neighbours share a place and the best of them is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.sweep.figures import Direction
from milepost_backtester.sweep.report.content import Axis, SweepContent

LEVELS = 24
"""Shades from the worst to the best."""
WORST_SHARE = 0.05
"""So much of what is drawn may be worse than the palest shade says: a few disasters must not hide the rest."""
PAIRS_MAX = 6
POINTS_MAX = 500
"""Of a line."""
COLUMNS_MAX, ROWS_MAX = 100, 50
SMALL_COLUMNS_MAX, SMALL_ROWS_MAX = 40, 30
"""Of one heatmap, and where there are several."""


@dataclass(frozen=True, slots=True)
class Shades:
    """From a figure to a level: 0 for the worst, ``LEVELS - 1`` for the best."""

    worst: float
    best: float

    def levels(self, values: Floats) -> Integers:
        """Return the levels; -1 for what is no number."""
        span = self.best - self.worst
        share = (values - self.worst) / span if span else np.where(np.isnan(values), np.nan, 1.0)
        found = np.floor(np.clip(share, 0.0, 1.0) * LEVELS)
        return np.where(np.isnan(values), -1, np.minimum(found, LEVELS - 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One or two parameters: (rows, columns), a single row where there is one parameter."""

    across: Axis
    up: Axis | None
    values: Floats
    """Not a number where undefined, or where there is no combination."""
    present: NDArray[np.bool_]
    """Whether there is any combination."""
    best: tuple[int, int]
    """Row and column of the best combination."""
    pooled: bool
    """Whether neighbours share places."""


def shades_of(surfaces: Sequence[Surface], direction: Direction) -> Shades:
    """Return the shades that all of them share."""
    values = np.concatenate([surface.values.ravel() for surface in surfaces])
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return Shades(0.0, 0.0)
    skipped = int(len(known) * WORST_SHARE)
    if direction == "highest":
        return Shades(known.item(skipped), known.item(-1))
    return Shades(known.item(-1 - skipped), known.item(0))


def surfaces_of(content: SweepContent) -> list[Surface]:
    """Return what is drawn: a line for one parameter, else a heatmap for each of the first pairs.

    Parameters with more values come first; those with a single value are left out, if that leaves any.
    """
    axes = sorted(content.axes, key=lambda axis: -len(axis))
    varied = [axis for axis in axes if len(axis) > 1] or axes[:1]
    if len(varied) == 1:
        return [_surface(content, varied[0], None, (POINTS_MAX, 1))]
    pairs = list(combinations(varied, 2))[:PAIRS_MAX]
    limits = (COLUMNS_MAX, ROWS_MAX) if len(pairs) == 1 else (SMALL_COLUMNS_MAX, SMALL_ROWS_MAX)
    return [_surface(content, first, second, limits) for first, second in pairs]


def _surface(content: SweepContent, across: Axis, up: Axis | None, limits: tuple[int, int]) -> Surface:
    columns, rows = _pooled(across, limits[0]), None if up is None else _pooled(up, limits[1])
    places = (
        np.zeros(len(content.order), dtype=np.int64) if rows is None else rows.places,
        columns.places,
    )
    shape = (1 if rows is None else len(rows), len(columns))
    values, present = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    worst_first = content.order[::-1]
    # Of those that share a place the last one stays: the best.
    values[places[0][worst_first], places[1][worst_first]] = content.values[worst_first]
    present[places] = True
    best = int(content.order[0])
    return Surface(
        columns,
        rows,
        values,
        present,
        (int(places[0][best]), int(places[1][best])),
        len(columns) < len(across) or (rows is not None and up is not None and len(rows) < len(up)),
    )


def _pooled(axis: Axis, limit: int) -> Axis:
    size = -(-len(axis) // limit)
    if size == 1:
        return axis
    groups = [axis.labels[start : start + size] for start in range(0, len(axis), size)]
    labels = tuple(group[0] if len(group) == 1 else f"{group[0]}\N{EN DASH}{group[-1]}" for group in groups)
    return Axis(axis.name, labels, axis.places // size)
