"""The figure ranked by over the parameters as PNG, and of a walk its equity and drawdown.

The bytes follow from the content and the versions of matplotlib and its FreeType, as in ``report.pictures``.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.report.axes import scale_of
from milepost_backtester.report.figures import entry_of
from milepost_backtester.report.pictures import (
    BLUE,
    DOTS_PER_INCH,
    GRID,
    INK,
    SIZE_INCHES,
    SOFT,
    draw_pictures,
    font_of,
)
from milepost_backtester.sweep.report.content import Axis, SweepContent
from milepost_backtester.sweep.report.heatmap import DARK_LEVEL, Write, figure_ticks, short_label, spaced
from milepost_backtester.sweep.report.rows import writer_of
from milepost_backtester.sweep.report.surface import LEVELS, Surface, shades_of, surfaces_of

HEAT_INCHES = (12.0, 6.4)
LEFT_SHARE, WIDTH_SHARE = 0.09, 0.89
WORDS_COLUMNS_MAX, WORDS_ROWS_MAX = 16, 20
"""Heatmaps of at most so many places say their values."""
LABEL_ROOM = 850.0
"""Width of the plot in pixels of the page, whose letters are smaller."""
PALEST = 0.06
"""How much of the colour the worst shade has."""


def draw_sweep(content: SweepContent, directory: Path) -> None:
    """Write ``sweep.png``, and of a walk ``equity.png`` and ``drawdown.png``."""
    surface = surfaces_of(content)[0]
    levels = shades_of([surface], content.direction).levels(surface.values)
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(
            figsize=SIZE_INCHES if surface.up is None else HEAT_INCHES, dpi=DOTS_PER_INCH, facecolor="white"
        )
        canvas = FigureCanvasAgg(figure)
        # Typed poorly upstream: its own stubs leave most of Axes unknown.
        axes: Any = figure.add_axes((LEFT_SHARE, 0.13, WIDTH_SHARE, 0.76))
        write = writer_of(content.rank_by)
        if surface.up is None:
            _draw_line(axes, surface, write)
        else:
            _draw_heat(axes, surface, surface.up, levels, write)
        _finish(axes)
        bold = font_of(13, "DejaVuSans-Bold.ttf")
        figure.text(0.02, 0.94, content.title, color=INK, fontproperties=bold, parse_math=False)
        words = entry_of(content.rank_by)[0]
        figure.text(0.98, 0.94, words, color=SOFT, fontproperties=font_of(12), horizontalalignment="right")
        canvas.print_png(directory / "sweep.png", metadata={"Software": None})
    if content.walk is not None:
        draw_pictures(content.walk.account, directory)


def _draw_heat(axes: Any, surface: Surface, up: Axis, levels: Integers, write: Write) -> None:
    rows, columns = surface.values.shape
    axes.imshow(_colours(levels), origin="lower", aspect="auto", interpolation="nearest")
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    if columns * rows <= 2_500:
        axes.grid(which="minor", color="white", linewidth=1.0)
    row, column = surface.best
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=2))
    if columns <= WORDS_COLUMNS_MAX and rows <= WORDS_ROWS_MAX:
        _write_values(axes, surface.values, levels, write)
    _label(axes.set_xticks, surface.across, spaced(surface.across.labels, LABEL_ROOM / columns))
    _label(axes.set_yticks, up, range(0, rows, max(1, rows // 24)))
    axes.set_xlabel(surface.across.name, fontproperties=font_of(11), color=INK, labelpad=8, parse_math=False)
    axes.set_ylabel(up.name, fontproperties=font_of(11), color=INK, labelpad=8, parse_math=False)


def _write_values(axes: Any, values: Floats, levels: Integers, write: Write) -> None:
    font = font_of(9)
    for row, column in np.argwhere(levels >= 0).tolist():
        colour = "white" if levels.item(row, column) >= DARK_LEVEL else INK
        text = write(values.item(row, column))
        axes.text(
            column, row, text, color=colour, fontproperties=font, ha="center", va="center", parse_math=False
        )


def _draw_line(axes: Any, surface: Surface, write: Write) -> None:
    values = surface.values[0]
    places = np.arange(len(values))
    axes.plot(places, values, color=BLUE, linewidth=1.6, marker="o", markersize=5, markerfacecolor="white")
    best = surface.best[1]
    axes.plot([best], [values[best]], color=BLUE, marker="o", markersize=8, markeredgecolor=INK)
    known = values[~np.isnan(values)]
    scale = scale_of(*((float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)))
    axes.set_ylim(scale.low, scale.high)
    ticks = figure_ticks(scale, 6, write)
    axes.set_yticks(
        [tick.place for tick in ticks], [tick.label for tick in ticks], fontproperties=font_of(10)
    )
    _label(axes.set_xticks, surface.across, spaced(surface.across.labels, LABEL_ROOM / len(values)))
    axes.set_xlabel(surface.across.name, fontproperties=font_of(11), color=INK, labelpad=8, parse_math=False)
    axes.grid(color=GRID, linewidth=0.9)


def _colours(levels: Integers) -> Floats:
    """Return (rows, columns, 3): white where nothing is known, else from pale to full."""
    share = PALEST + (1 - PALEST) * levels / (LEVELS - 1)
    share = np.where(levels < 0, 0.0, share)[..., np.newaxis]
    full = np.array([int(BLUE[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return 1 - share * (1 - full)


def _label(put: Any, axis: Axis, places: range) -> None:
    put(list(places), [short_label(axis.labels[place]) for place in places], fontproperties=font_of(10))


def _finish(axes: Any) -> None:
    axes.tick_params(which="both", length=0, labelcolor=SOFT)
    axes.set_axisbelow(True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    for edge in axes.spines.values():
        edge.set_visible(False)
