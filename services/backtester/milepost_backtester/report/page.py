"""The page: one file without a single request to anywhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from milepost_backtester.engine.bars import Integers
from milepost_backtester.report.axes import short_time
from milepost_backtester.report.charts import equity_chart, price_chart
from milepost_backtester.report.content import Instrument, ReportContent
from milepost_backtester.report.decimation import evenly
from milepost_backtester.report.figures import groups, headlines
from milepost_backtester.report.numbers import duration, money, percent, whole
from milepost_backtester.report.svg import LEFT, PLOT_WIDTH, WIDTH
from milepost_backtester.report.symbols import SYMBOL_WORDS, symbol_rows
from milepost_backtester.statistics.drawdowns import depths
from milepost_backtester.statistics.months import MonthReturn, monthly_returns

CURSOR_PLACES_MAX = 700
INSTRUMENTS_MAX = 8
"""Price charts; of more symbols those with the most fills are shown."""
DIGITS = 7
"""Of the values under the cursor."""
HEAT_FULL_RATE = 0.1
"""Return of a month that has the full colour."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One month, or one year, of the table."""

    value: str
    heat: int
    """-100 to 100: the colour."""


def render_page(content: ReportContent) -> str:
    """Return the HTML document."""
    equity, with_benchmark = equity_chart(content)
    shown = shown_instruments(content)
    statistics = content.statistics
    return _template().render(
        title=content.title,
        period=period_words(content.timestamp, statistics.initial_cash),
        headlines=headlines(statistics),
        equity_chart=Markup(equity),  # noqa: S704 - our own numbers and words
        with_benchmark=with_benchmark,
        prices=[(part.name, Markup(price_chart(content, part))) for part in shown],  # noqa: S704 - likewise
        hidden=len(content.instruments) - len(shown),
        years=month_table(monthly_returns(content.timestamp, content.equity, statistics.initial_cash)),
        groups=groups(statistics),
        symbols=symbol_rows(content.symbols),
        symbol_words=SYMBOL_WORDS,
        spec=json.dumps(content.spec, indent=2, sort_keys=True, ensure_ascii=False),
        cursor=cursor_of(content),
    )


def shown_instruments(content: ReportContent) -> tuple[Instrument, ...]:
    """Return the symbols whose prices are drawn, in their order."""
    parts = content.instruments
    if len(parts) <= INSTRUMENTS_MAX:
        return parts
    traded = sorted(range(len(parts)), key=lambda place: (-len(parts[place].fills.bar), place))
    return tuple(parts[place] for place in sorted(traded[:INSTRUMENTS_MAX]))


def month_table(months: Sequence[MonthReturn]) -> list[tuple[int, list[Cell | None], Cell]]:
    """Return years with twelve months and the whole; a month without bars is None."""
    found: dict[int, list[MonthReturn | None]] = {}
    for month in months:
        found.setdefault(month.year, [None] * 12)[month.month - 1] = month
    return [
        (year, [None if part is None else _cell(part.rate) for part in parts], _cell(_chained(parts)))
        for year, parts in found.items()
    ]


def _chained(parts: Sequence[MonthReturn | None]) -> float | None:
    total = 1.0
    for part in parts:
        if part is None:
            continue
        if part.rate is None:
            return None
        total *= 1 + part.rate
    return total - 1


def _cell(rate: float | None) -> Cell:
    if rate is None:
        return Cell("\N{EN DASH}", 0)
    heat = round(max(-1.0, min(1.0, rate / HEAT_FULL_RATE)) * 100)
    return Cell(percent(rate, 2 if abs(rate) < 0.1 else 1), heat)


def period_words(timestamp: Integers, initial_cash: float) -> str:
    """Return from when to when the bars are, how many, and the money at the start."""
    first, last = int(timestamp[0]), int(timestamp[-1])
    clock = has_clock(timestamp)
    words = f"{short_time(first, with_clock=clock)} to {short_time(last, with_clock=clock)}"
    length = duration((last - first) / 1e9)
    return f"{words}, {whole(len(timestamp))} bars, {length}, from {money(initial_cash)} of cash"


def has_clock(timestamp: Integers) -> bool:
    """Say whether any bar is at another time than midnight."""
    day_nanoseconds = 86_400 * 10**9
    return bool((timestamp % day_nanoseconds).any())


def cursor_of(content: ReportContent) -> dict[str, Any]:
    """Return what the script shows where the pointer is."""
    places = evenly(len(content.timestamp), CURSOR_PLACES_MAX)
    clock = has_clock(content.timestamp)
    fall = -depths(content.equity, content.statistics.initial_cash)
    return {
        "times": [short_time(int(moment), with_clock=clock) for moment in content.timestamp[places]],
        "equity": _short(content.equity[places].tolist(), 12),
        "drawdown": _short(fall[places].tolist(), 5),
        "prices": [_short(part.close[places].tolist(), DIGITS) for part in shown_instruments(content)],
        "left": LEFT / WIDTH,
        "width": PLOT_WIDTH / WIDTH,
    }


def _short(values: list[float], digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]


@cache
def _template() -> Template:
    return environment_of("milepost_backtester.report").get_template("report.html")


def environment_of(*packages: str) -> Environment:
    """Return where templates are found: in the folders ``templates`` of some packages, in this order."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
