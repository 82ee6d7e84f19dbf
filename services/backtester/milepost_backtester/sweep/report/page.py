"""The page: one file without a single request to anywhere."""

import json
from functools import cache
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from milepost_backtester.report.charts import equity_chart
from milepost_backtester.report.figures import entry_of, groups
from milepost_backtester.report.numbers import whole
from milepost_backtester.report.page import cursor_of, environment_of, has_clock, period_words
from milepost_backtester.sweep.report.content import SweepContent, WalkContent
from milepost_backtester.sweep.report.heatmap import Write, surface_chart
from milepost_backtester.sweep.report.rows import (
    FOLD_FIGURES,
    columns_of,
    figures_shown,
    fold_rows,
    headline_rows,
    ranked_columns,
    ranked_rows,
    writer_of,
)
from milepost_backtester.sweep.report.surface import LEVELS, Shades, Surface, shades_of, surfaces_of


def render_page(content: SweepContent) -> str:
    """Return the HTML document."""
    surfaces = surfaces_of(content)
    write, small = writer_of(content.rank_by), len(surfaces) > 1
    shades = shades_of(surfaces, content.direction)
    rows = ranked_rows(content)
    return _template().render(
        title=content.title,
        period=period_words(content.timestamp, content.spec["initial_cash"]),
        headlines=headline_rows(content),
        figure=entry_of(content.rank_by)[0],
        best_end=content.direction,
        folds=len(content.walk.folds) if content.walk else 0,
        maps=[_drawn(surface, shades, write, small=small) for surface in surfaces],
        small=small,
        is_line=surfaces[0].up is None,
        across=surfaces[0].across.name,
        pooled=any(surface.pooled for surface in surfaces),
        others=_others(content, surfaces[0]),
        shades=range(LEVELS),
        legend=(write(shades.worst), write(shades.best)),
        names=[axis.name for axis in content.axes],
        columns=ranked_columns(content),
        rows=rows,
        hidden=whole(len(content.order) - len(rows)) if len(content.order) > len(rows) else "",
        left_out=[(reason, whole(count)) for reason, count in content.left_out.items()],
        walk=None if content.walk is None else _walk(content, content.walk),
        spec=json.dumps(content.spec, indent=2, sort_keys=True, ensure_ascii=False),
        pointed=[_pointed(surface) for surface in surfaces],
    )


def _drawn(surface: Surface, shades: Shades, write: Write, *, small: bool) -> Markup:
    return Markup(surface_chart(surface, shades, write, small=small))  # noqa: S704 - it escapes words from outside


def _walk(content: SweepContent, walk: WalkContent) -> dict[str, Any]:
    chart, with_benchmark = equity_chart(walk.account, [fold.first_bar for fold in walk.folds[1:]])
    return {
        "chart": Markup(chart),  # noqa: S704 - our own numbers and words
        "with_benchmark": with_benchmark,
        "columns": columns_of(figures_shown(content.rank_by, FOLD_FIGURES)),
        "rows": fold_rows(content, walk, with_clock=has_clock(content.timestamp)),
        "groups": groups(walk.account.statistics),
        "cursor": cursor_of(walk.account),
    }


def _others(content: SweepContent, surface: Surface) -> bool:
    """Say whether parameters vary that the first chart does not show."""
    shown = {axis.name for axis in (surface.across, surface.up) if axis is not None}
    return any(len(axis) > 1 and axis.name not in shown for axis in content.axes)


def _pointed(surface: Surface) -> dict[str, Any]:
    """Return what the script shows where the pointer is."""
    values = [
        [_point(value, there=there) for value, there in zip(row, present, strict=True)]
        for row, present in zip(surface.values.tolist(), surface.present.tolist(), strict=True)
    ]
    return {
        "across": {"name": surface.across.name, "labels": surface.across.labels},
        "up": None if surface.up is None else {"name": surface.up.name, "labels": surface.up.labels},
        "values": values,
    }


def _point(value: float, *, there: bool) -> float | str | None:
    """Return a value, None for an undefined one, or no words where there is no combination."""
    if not there:
        return ""
    return float(f"{value:.6g}") if value == value else None


@cache
def _template() -> Template:
    environment = environment_of("milepost_backtester.sweep.report", "milepost_backtester.report")
    return environment.get_template("sweep.html")
