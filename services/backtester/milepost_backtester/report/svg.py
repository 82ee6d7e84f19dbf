"""Charts as SVG. Colours and lines are classes, so the page's theme decides about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.report.axes import Scale, Tick
from milepost_backtester.report.decimation import extremes

WIDTH = 1080
LEFT, RIGHT, BOTTOM, TOP = 8, 72, 26, 10
PLOT_WIDTH = WIDTH - LEFT - RIGHT


@dataclass(slots=True)
class Panel:
    """A part of a chart with a scale of its own."""

    top: float
    height: float
    scale: Scale
    bars: int

    def x(self, bar: float) -> float:
        """Return where a bar is."""
        return LEFT + (bar / (self.bars - 1) if self.bars > 1 else 0.5) * PLOT_WIDTH

    def y(self, value: float) -> float:
        """Return where a value is; what lies beyond the scale is drawn at its edge."""
        return self.top + (1 - min(max(self.scale.share(value), 0.0), 1.0)) * self.height

    @property
    def bottom(self) -> float:
        """Return the lower edge."""
        return self.top + self.height


@dataclass(slots=True)
class Drawing:
    """SVG elements in the order of painting."""

    height: float
    label: str
    """What a person hears who does not see it; plain words without markup."""
    parts: list[str] = field(default_factory=list[str])

    def grid(self, panel: Panel, rows: Iterable[Tick], columns: Iterable[Tick]) -> None:
        """Draw the lines behind a curve, with the values at the right."""
        for tick in rows:
            y = panel.y(tick.place)
            self.parts.append(
                f'<path class="grid" d="M{LEFT} {y:.1f}H{LEFT + PLOT_WIDTH}"/>'
                f'<text class="value" x="{LEFT + PLOT_WIDTH + 8}" y="{y + 4:.1f}">{tick.label}</text>'
            )
        for tick in columns:
            self.parts.append(
                f'<path class="grid" d="M{panel.x(tick.place):.1f} {panel.top:.1f}V{panel.bottom:.1f}"/>'
            )

    def times(self, panel: Panel, ticks: Iterable[Tick]) -> None:
        """Write the times below a panel."""
        for tick in ticks:
            x = min(max(panel.x(tick.place), LEFT + 22), LEFT + PLOT_WIDTH - 22)
            self.parts.append(
                f'<text class="time" x="{x:.1f}" y="{panel.bottom + 18:.1f}">{tick.label}</text>'
            )

    def uprights(self, bars: Iterable[int], panels: Sequence[Panel], style: str) -> None:
        """Draw lines from the top of the first panel to the bottom of the last one."""
        first, last = panels[0], panels[-1]
        lines = "".join(f"M{first.x(bar):.1f} {first.top:.1f}V{last.bottom:.1f}" for bar in bars)
        if lines:
            self.parts.append(f'<path class="{style}" d="{lines}"/>')

    def line(self, panel: Panel, values: Floats, style: str, *, start: int = 0) -> None:
        """Draw a curve over all bars from one on."""
        self.parts.append(f'<path class="{style}" d="{_path(panel, values, start)}"/>')

    def area(self, panel: Panel, values: Floats, base: float, style: str) -> None:
        """Fill what lies between a curve and a value."""
        edge, last = panel.y(base), panel.x(len(values) - 1)
        outline = f"{_path(panel, values)}L{last:.1f} {edge:.1f}L{panel.x(0):.1f} {edge:.1f}Z"
        self.parts.append(f'<path class="{style}" d="{outline}"/>')

    def triangles(
        self, panel: Panel, bars: Sequence[int], prices: Sequence[float], style: str, *, upward: bool
    ) -> None:
        """Draw small marks that point at prices: from below when upward, otherwise from above."""
        turn = 1 if upward else -1
        marks = (
            f"M{panel.x(bar):.1f} {panel.y(price) + turn * 3:.1f}l4 {turn * 7}h-8z"
            for bar, price in zip(bars, prices, strict=True)
        )
        self.parts.append(f'<path class="{style}" d="{"".join(marks)}"/>')

    def segments(
        self, panel: Panel, starts: "NDArray[np.float64]", ends: "NDArray[np.float64]", style: str
    ) -> None:
        """Draw straight lines from (bar, price) to (bar, price)."""
        lines = (
            f"M{panel.x(a):.1f} {panel.y(b):.1f}L{panel.x(c):.1f} {panel.y(d):.1f}"
            for (a, b), (c, d) in zip(starts.tolist(), ends.tolist(), strict=True)
        )
        self.parts.append(f'<path class="{style}" d="{"".join(lines)}"/>')

    def finish(self) -> str:
        """Return the SVG element; the cursor line is moved by the page's script."""
        cursor = f'<path class="cursor" d="M0 {TOP}V{self.height - BOTTOM}"/>'
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-label="{self.label}">'
            f"{''.join(self.parts)}{cursor}</svg>"
        )


def _path(panel: Panel, values: Floats, start: int = 0) -> str:
    places: Integers = start + extremes(values[start:], PLOT_WIDTH)
    points = [
        f"{panel.x(bar):.1f} {panel.y(value):.1f}"
        for bar, value in zip(places.tolist(), values[places].tolist(), strict=True)
    ]
    return "M" + "L".join(points)
