"""The charts of a report."""

from collections.abc import Sequence

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.report.axes import Scale, Tick, scale_of, time_ticks, value_ticks
from milepost_backtester.report.content import Instrument, ReportContent
from milepost_backtester.report.numbers import axis_label, percent
from milepost_backtester.report.svg import BOTTOM, PLOT_WIDTH, TOP, Drawing, Panel
from milepost_backtester.statistics.drawdowns import depths
from milepost_backtester.statistics.market import held_value

EQUITY_HEIGHT, DRAWDOWN_HEIGHT, PRICE_HEIGHT, GAP = 280.0, 110.0, 320.0, 14.0
TICK_SPACING_PIXELS = 62
LINES_MAX = 400
"""More round trips than this are not joined by lines: they would hide the price."""
MARKS_MAX = 250
"""More purchases, or sales, than this are thinned to the first of every few pixels."""
MARK_PIXELS = 5
BENCHMARK_RANGE_MAX = 6.0
"""A benchmark that moves this many times as far as the equity would make a flat line of it."""


def equity_chart(content: ReportContent, divisions: Sequence[int] = ()) -> tuple[str, bool]:
    """Return equity with the drawdown below it, and whether the benchmark could be drawn beside it.

    ``divisions``: bars at which something else begins.
    """
    equity, initial_cash = content.equity, content.statistics.initial_cash
    held = held_value(np.stack([part.close for part in content.instruments])) * initial_cash
    shown = bool(np.ptp(held) <= BENCHMARK_RANGE_MAX * np.ptp(equity))
    curves = (equity, held) if shown else (equity,)
    bars = len(equity)
    upper = Panel(TOP, EQUITY_HEIGHT, _scale(*curves), bars)
    drawing = Drawing(TOP + EQUITY_HEIGHT + GAP + DRAWDOWN_HEIGHT + BOTTOM, "Equity, and its drawdown below")
    times = time_ticks(content.timestamp, spacing=bars / PLOT_WIDTH * TICK_SPACING_PIXELS)
    drawing.grid(upper, equity_ticks(upper.scale, 6), times)
    drawing.area(upper, equity, upper.scale.low, "equity-area")
    if shown:
        drawing.line(upper, held, "benchmark")
    drawing.line(upper, equity, "equity")
    fall = -depths(equity, initial_cash)
    lower = Panel(upper.bottom + GAP, DRAWDOWN_HEIGHT, fall_scale(fall), bars)
    drawing.grid(lower, fall_ticks(lower.scale, 3), times)
    drawing.area(lower, fall, 0.0, "drawdown-area")
    drawing.line(lower, fall, "drawdown")
    drawing.times(lower, times)
    drawing.uprights(divisions, (upper, lower), "division")
    return drawing.finish(), shown


def price_chart(content: ReportContent, instrument: Instrument) -> str:
    """Return the price with what was bought and sold; of many marks some stand for all."""
    bars = len(instrument.close)
    fills, trades = instrument.fills, instrument.trades
    start = first_close(instrument.close)
    begun = instrument.close[start:]
    prices = (begun, fills.price) if len(fills.price) else (begun,)
    panel = Panel(TOP, PRICE_HEIGHT, _scale(*prices), bars)
    drawing = Drawing(TOP + PRICE_HEIGHT + BOTTOM, "Price, with what was bought and sold")
    times = time_ticks(content.timestamp, spacing=bars / PLOT_WIDTH * TICK_SPACING_PIXELS)
    drawing.grid(panel, equity_ticks(panel.scale, 6), times)
    drawing.line(panel, instrument.close, "price", start=start)
    if 0 < len(trades.pnl) <= LINES_MAX:
        starts = np.column_stack((trades.entry_bar, trades.entry_price)).astype(np.float64)
        ends = np.column_stack((trades.exit_bar, trades.exit_price)).astype(np.float64)
        won = trades.pnl > 0
        drawing.segments(panel, starts[won], ends[won], "won")
        drawing.segments(panel, starts[~won], ends[~won], "lost")
    for bought in (True, False):
        of_kind = np.flatnonzero((fills.quantity > 0) == bought)
        places = PLOT_WIDTH // (1 if len(of_kind) <= MARKS_MAX else MARK_PIXELS)
        kept = of_kind[np.unique(fills.bar[of_kind] * places // bars, return_index=True)[1]]
        style = "bought" if bought else "sold"
        drawing.triangles(panel, fills.bar[kept].tolist(), fills.price[kept].tolist(), style, upward=bought)
    drawing.times(panel, times)
    return drawing.finish()


def first_close(close: Floats) -> int:
    """Return the bar at which a symbol begins; 0 for one that never does."""
    return int((close > 0).argmax())


def fall_scale(fall: Floats) -> Scale:
    """Return the scale of a drawdown: from 0 down, with some room."""
    return Scale(min(float(fall.min()) * 1.08, -1e-6), 0.0)


def equity_ticks(scale: Scale, count: int) -> list[Tick]:
    """Return about ``count`` amounts or prices."""
    return [Tick(value, axis_label(value)) for value in value_ticks(scale, count)]


def fall_ticks(scale: Scale, count: int) -> list[Tick]:
    """Return about ``count`` shares, with as few decimals as tell them exactly."""
    values = value_ticks(scale, count)
    digits = next(
        (
            digits
            for digits in range(4)
            if all(abs(round(value * 100, digits) - value * 100) < 1e-9 for value in values)
        ),
        4,
    )
    return [Tick(value, percent(value, digits)) for value in values]


def _scale(*curves: Floats) -> Scale:
    return scale_of(min(float(curve.min()) for curve in curves), max(float(curve.max()) for curve in curves))
