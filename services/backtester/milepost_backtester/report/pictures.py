"""The equity and its drawdown as PNG, for places where a page is too much.

The bytes follow from the content and the versions of matplotlib and its FreeType: its own font, no settings of the
user, no time of writing.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from milepost_backtester.engine.bars import Floats
from milepost_backtester.report.axes import Scale, Tick, scale_of, time_ticks
from milepost_backtester.report.charts import equity_ticks, fall_scale, fall_ticks
from milepost_backtester.report.content import ReportContent
from milepost_backtester.report.decimation import extremes
from milepost_backtester.statistics.drawdowns import depths

SIZE_INCHES = (12.0, 5.0)
DOTS_PER_INCH = 120
COLUMNS = 1400
INK, SOFT, GRID, BLUE, RED = "#1b1f24", "#5d6773", "#e6eaee", "#1f5fd6", "#c4302b"


def draw_pictures(content: ReportContent, directory: Path) -> None:
    """Write ``equity.png`` and ``drawdown.png``."""
    equity = content.equity
    fall = -depths(equity, content.statistics.initial_cash)
    with mpl.rc_context():
        mpl.rcdefaults()
        scale = scale_of(float(equity.min()), float(equity.max()))
        ticks = equity_ticks(scale, 7)
        _draw(content, equity, scale, ticks, "Equity", BLUE, scale.low, directory / "equity.png")
        scale = fall_scale(fall)
        ticks = fall_ticks(scale, 6)
        _draw(content, fall, scale, ticks, "Drawdown", RED, 0.0, directory / "drawdown.png")


def _draw(
    content: ReportContent,
    values: Floats,
    scale: Scale,
    ticks: list[Tick],
    words: str,
    colour: str,
    base: float,
    path: Path,
) -> None:
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    # Typed poorly upstream: its own stubs leave most of Axes unknown.
    axes: Any = figure.add_axes((0.02, 0.09, 0.905, 0.8))
    places = extremes(values, COLUMNS)
    axes.fill_between(places, values[places], base, color=colour, alpha=0.1, linewidth=0)
    axes.plot(places, values[places], color=colour, linewidth=1.4, solid_joinstyle="round")
    count = len(values)
    axes.set_xlim(0, max(count - 1, 1))
    axes.set_ylim(scale.low, scale.high)
    times = time_ticks(content.timestamp, spacing=count * 0.05)
    font = font_of(10)
    axes.set_xticks([tick.place for tick in times], [tick.label for tick in times], fontproperties=font)
    axes.set_yticks([tick.place for tick in ticks], [tick.label for tick in ticks], fontproperties=font)
    axes.yaxis.tick_right()
    axes.tick_params(length=0, pad=7, labelcolor=SOFT)
    axes.grid(color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    for edge in axes.spines.values():
        edge.set_visible(False)
    bold = font_of(13, "DejaVuSans-Bold.ttf")
    figure.text(0.02, 0.935, content.title, color=INK, fontproperties=bold, parse_math=False)
    figure.text(0.925, 0.935, words, color=SOFT, fontproperties=font_of(12), horizontalalignment="right")
    canvas.print_png(path, metadata={"Software": None})


def font_of(size: float, name: str = "DejaVuSans.ttf") -> FontProperties:
    """The font that comes with matplotlib: the system may have another version of it."""
    return FontProperties(fname=Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size=size)
