"""Heatmaps and lines over parameters, as SVG; shades are classes, so the page's theme decides about colours."""

from collections.abc import Callable
from html import escape

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.report.axes import Scale, Tick, scale_of, value_ticks
from milepost_backtester.report.charts import equity_ticks, fall_ticks
from milepost_backtester.report.numbers import duration, percent
from milepost_backtester.report.svg import LEFT as SVG_LEFT
from milepost_backtester.report.svg import PLOT_WIDTH, TOP, Drawing, Panel
from milepost_backtester.sweep.report.content import Axis
from milepost_backtester.sweep.report.surface import LEVELS, Shades, Surface

WIDTH, SMALL_WIDTH = 1080, 530
LEFT, RIGHT, BOTTOM = 86, 6, 46
HEIGHT_MAX, SMALL_HEIGHT_MAX = 460.0, 300.0
CELL_HEIGHT_MAX = 34.0
LETTER_PIXELS = 6.6
"""About how wide a letter is."""
DARK_LEVEL = 14
"""From this shade on words in a cell are light."""
WORDS_HEIGHT_MIN = 15.0
LINE_HEIGHT, DOTS_MAX = 260.0, 120

Write = Callable[[float], str]
Corner = Callable[[int, int], tuple[float, float]]
"""From row and column of a cell to its upper left corner."""


def surface_chart(surface: Surface, shades: Shades, write: Write, *, small: bool) -> str:
    """Return a line for one parameter, a heatmap for two."""
    if surface.up is None:
        return _line(surface, write)
    return _heatmap(surface, surface.up, shades.levels(surface.values), write, small=small)


def figure_ticks(scale: Scale, count: int, write: Write) -> list[Tick]:
    """Return about ``count`` values of a figure, with as few digits as tell them."""
    if write is percent:
        return fall_ticks(scale, count)
    if write is duration:
        return [Tick(value, write(value)) for value in value_ticks(scale, count)]
    return equity_ticks(scale, count)


def spaced(labels: tuple[str, ...], room: float) -> range:
    """Return the places whose labels fit beside each other when each place has so many pixels."""
    longest = max(len(label) for label in labels) * LETTER_PIXELS + 8
    return range(0, len(labels), max(1, -int(-longest // room)))


def _heatmap(surface: Surface, up: Axis, levels: Integers, write: Write, *, small: bool) -> str:
    across, (rows, columns) = surface.across, surface.values.shape
    width = SMALL_WIDTH if small else WIDTH
    cell_width = (width - LEFT - RIGHT) / columns
    height = min(SMALL_HEIGHT_MAX if small else HEIGHT_MAX, rows * CELL_HEIGHT_MAX)
    cell_height = height / rows

    def corner(row: int, column: int) -> tuple[float, float]:
        return LEFT + column * cell_width, TOP + (rows - 1 - row) * cell_height

    size = (cell_width, cell_height)
    parts = _cells(np.where(surface.present, levels, -2), corner, size)
    parts += _cell_words(surface.values, levels, write, corner, size)
    x, y = corner(*surface.best)
    parts.append(
        f'<rect class="best" x="{x:.1f}" y="{y:.1f}" width="{cell_width:.1f}" height="{cell_height:.1f}"/>'
    )
    bottom = TOP + height
    for column in spaced(across.labels, cell_width):
        x = LEFT + (column + 0.5) * cell_width
        parts.append(
            f'<text class="time" x="{x:.1f}" y="{bottom + 17:.1f}">{escape(across.labels[column])}</text>'
        )
    for row in range(0, rows, max(1, -int(-16 // cell_height))):
        y = corner(row, 0)[1] + cell_height / 2 + 4
        parts.append(
            f'<text class="row" x="{LEFT - 8}" y="{y:.1f}">{escape(short_label(up.labels[row]))}</text>'
        )
    middle = LEFT + (width - LEFT - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:.1f}" y="{bottom + 37:.1f}">{escape(across.name)}</text>')
    turned = TOP + height / 2
    parts.append(
        f'<text class="axis" transform="translate(12 {turned:.1f}) rotate(-90)">{escape(up.name)}</text>'
    )
    parts.append(_plot(LEFT, TOP, width - LEFT - RIGHT, height))
    label = escape(f"{up.name} by {across.name}", quote=True)
    return (
        f'<svg class="heat" viewBox="0 0 {width} {bottom + BOTTOM:g}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _cells(kinds: Integers, corner: Corner, size: tuple[float, float]) -> list[str]:
    """Return a path for each shade, with all its cells; undefined ones have a class of their own."""
    parts: list[str] = []
    for level in range(-1, LEVELS):
        cells = [corner(row, column) for row, column in np.argwhere(kinds == level).tolist()]
        if cells:
            outline = f"h{size[0]:.1f}v{size[1]:.1f}h-{size[0]:.1f}z"
            marks = "".join(f"M{x:.1f} {y:.1f}{outline}" for x, y in cells)
            style = "undefined" if level < 0 else f"shade s{level}"
            parts.append(f'<path class="{style}" d="{marks}"/>')
    return parts


def _cell_words(
    values: Floats, levels: Integers, write: Write, corner: Corner, size: tuple[float, float]
) -> list[str]:
    """Return the values, where the cells are large enough for all of them."""
    if size[1] < WORDS_HEIGHT_MIN:
        return []
    texts = {
        (row, column): write(values.item(row, column)) for row, column in np.argwhere(levels >= 0).tolist()
    }
    longest = max((len(text) for text in texts.values()), default=0)
    if longest * LETTER_PIXELS + 6 > size[0]:
        return []
    found: list[str] = []
    for (row, column), text in texts.items():
        x, y = corner(row, column)
        style = "on-dark" if levels.item(row, column) >= DARK_LEVEL else "on-light"
        found.append(
            f'<text class="{style}" x="{x + size[0] / 2:.1f}" y="{y + size[1] / 2 + 4:.1f}">{text}</text>'
        )
    return found


def short_label(label: str) -> str:
    """Return a label that fits beside the rows."""
    return label if len(label) <= 9 else f"{label[:8]}\N{HORIZONTAL ELLIPSIS}"


def _line(surface: Surface, write: Write) -> str:
    axis, values = surface.across, surface.values[0]
    known = np.flatnonzero(~np.isnan(values))
    low, high = (values[known].min(), values[known].max()) if len(known) else (0.0, 1.0)
    panel = Panel(TOP, LINE_HEIGHT, scale_of(float(low), float(high)), len(axis))
    drawing = Drawing(TOP + LINE_HEIGHT + BOTTOM, "The figure ranked by, by parameter")
    room = PLOT_WIDTH / max(len(axis) - 1, 1)
    ticks = [Tick(place, escape(axis.labels[place])) for place in spaced(axis.labels, room)]
    drawing.grid(panel, figure_ticks(panel.scale, 5, write), ticks)
    drawing.parts.append(f'<path class="equity" d="{_outline(panel, values, known)}"/>')
    points = known.tolist() if len(known) <= DOTS_MAX else []
    drawing.parts += [_dot(panel, place, values.item(place), "dot") for place in points]
    best = surface.best[1]
    if values.item(best) == values.item(best):
        drawing.parts.append(_dot(panel, best, values.item(best), "dot best-dot"))
    for tick in ticks:
        x = panel.x(tick.place)
        drawing.parts.append(
            f'<text class="time" x="{x:.1f}" y="{panel.bottom + 18:.1f}">{tick.label}</text>'
        )
    middle = panel.x((len(axis) - 1) / 2)
    drawing.parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{panel.bottom + 38:.1f}">{escape(axis.name)}</text>'
    )
    drawing.parts.append(_plot(SVG_LEFT, TOP, PLOT_WIDTH, LINE_HEIGHT))
    return drawing.finish()


def _plot(x: float, y: float, width: float, height: float) -> str:
    """Return where the pointer is over values."""
    return f'<rect class="plot" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _outline(panel: Panel, values: Floats, known: Integers) -> str:
    """Return a path through the known values, broken where one between them is unknown."""
    points: list[str] = []
    for place, before in zip(known.tolist(), [-2, *known.tolist()], strict=False):
        letter = "L" if place == before + 1 else "M"
        points.append(f"{letter}{panel.x(place):.1f} {panel.y(values.item(place)):.1f}")
    return "".join(points)


def _dot(panel: Panel, place: int, value: float, style: str) -> str:
    return f'<circle class="{style}" cx="{panel.x(place):.1f}" cy="{panel.y(value):.1f}" r="3.5"/>'
