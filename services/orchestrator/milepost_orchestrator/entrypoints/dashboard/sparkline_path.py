"""A sparkline as the path of an SVG."""

from functools import lru_cache
from math import inf

from milepost_orchestrator.application.sparklines import LINES_MAX

WIDTH, HEIGHT, MARGIN = 72, 24, 2
"""In the SVG's own units."""


@lru_cache(maxsize=LINES_MAX)
def sparkline_path(points: tuple[tuple[int, float], ...]) -> str:
    """Return the path through points, from the left edge to the right, the lowest value at the bottom.

    A single point is a line of no length, which round ends make a dot.
    """
    first, last = points[0][0], points[-1][0]
    values = [value for _, value in points]
    low, high = min(values), max(values)
    line = "L".join(
        f"{_place(unit, first, last, WIDTH):g} {HEIGHT - _place(value, low, high, HEIGHT):g}"
        for unit, value in points
    )
    return f"M{line}" if len(points) > 1 else f"M{line}h0"


def _place(value: float, low: float, high: float, size: int) -> float:
    """Where a value is between the margins; in the middle when all are the same, or too far apart to tell."""
    part = (value - low) / (high - low) if 0 < high - low < inf else 0.5
    return round(MARGIN + part * (size - 2 * MARGIN), 1)
