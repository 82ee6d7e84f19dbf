"""The figures as groups of rows for people."""

from collections.abc import Callable
from dataclasses import dataclass

from milepost_backtester.report.numbers import decimal, duration, money, percent, ratio, whole
from milepost_backtester.statistics.figures import Statistics


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    words: str
    value: str
    meaning: str
    """How it is computed, or why it is undefined."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that belong together."""

    words: str
    rows: tuple[Row, ...]


_Entry = tuple[str, str, Callable[[float], str], str]

GROUPS: tuple[tuple[str, tuple[_Entry, ...]], ...] = (
    (
        "Return",
        (
            ("final_equity", "Final equity", money, "cash plus positions at the last close"),
            ("total_return", "Total return", percent, "final equity / initial cash - 1"),
            ("annual_return", "Annual return", percent, "(1 + total return) ^ (1 / years) - 1"),
            ("volatility", "Volatility", percent, "standard deviation of returns, a year"),
            ("exposure", "Exposure", percent, "share of the bars with a position"),
        ),
    ),
    (
        "Risk",
        (
            ("sharpe", "Sharpe ratio", ratio, "mean / deviation of returns, a year"),
            ("sortino", "Sortino ratio", ratio, "mean / downside deviation, a year"),
            ("calmar", "Calmar ratio", ratio, "annual return / maximum drawdown"),
            ("max_drawdown", "Maximum drawdown", percent, "deepest fall below the highest equity so far"),
            (
                "max_drawdown_bars",
                "Maximum drawdown in bars",
                whole,
                "bars below the peak, until the recovery or the end",
            ),
            (
                "max_drawdown_seconds",
                "Maximum drawdown in time",
                duration,
                "from the peak to the recovery or the end",
            ),
            ("longest_drawdown_bars", "Longest drawdown in bars", whole, "most bars in a row below a peak"),
            ("longest_drawdown_seconds", "Longest drawdown", duration, "longest time below a peak"),
            ("value_at_risk", "Value at risk 5 %", percent, "loss of one bar that 5 % of the bars exceed"),
            ("conditional_value_at_risk", "Expected shortfall 5 %", percent, "mean loss of those bars"),
        ),
    ),
    (
        "Trades",
        (
            ("trades", "Round trips", whole, "entries with their exits, first in first out"),
            ("win_rate", "Win rate", percent, "share of the trades with a profit"),
            ("profit_factor", "Profit factor", ratio, "sum of profits / sum of losses"),
            ("payoff_ratio", "Payoff ratio", ratio, "average profit / average loss"),
            ("expectancy", "Expectancy", money, "mean profit of a trade"),
            ("average_trade_return", "Average return", percent, "mean of profit / value at entry"),
            ("best_trade", "Best trade", money, "highest profit"),
            ("worst_trade", "Worst trade", money, "lowest profit"),
            ("average_trade_bars", "Average length in bars", decimal, "mean of exit bar - entry bar"),
            ("longest_losing_streak", "Longest losing streak", whole, "most losses in a row"),
            ("system_quality_number", "SQN", ratio, "root of trades * mean / deviation of profits"),
            ("kelly_fraction", "Kelly fraction", percent, "win rate - (1 - win rate) / payoff ratio"),
        ),
    ),
    (
        "Costs and holdings",
        (
            ("fills", "Fills", whole, "executed orders"),
            ("fees", "Fees", money, "commission of all fills"),
            ("borrow_cost", "Borrow cost", money, "what shorts paid for being borrowed"),
            ("turnover", "Turnover", ratio, "traded value / mean equity"),
            ("annual_turnover", "Turnover a year", ratio, "turnover / years"),
            ("open_position", "Open position", decimal, "units held at the end"),
            ("orders_waiting", "Orders waiting", whole, "not filled at the end"),
            ("orders_refused", "Orders refused", whole, "would have exceeded the leverage"),
            ("orders_expired", "Orders expired", whole, "day orders not filled in their day"),
            ("margin_calls", "Margin calls", whole, "everything closed for want of equity"),
        ),
    ),
    (
        "Beside buy and hold",
        (
            ("benchmark_return", "Buy and hold", percent, "last close / first close - 1, without costs"),
            ("benchmark_max_drawdown", "Its maximum drawdown", percent, "of the closes"),
            ("excess_return", "Excess return", percent, "total return - buy and hold"),
            ("alpha", "Alpha", percent, "Jensen's, a year"),
            ("beta", "Beta", ratio, "covariance / variance of the benchmark"),
            ("correlation", "Correlation", ratio, "Pearson's, of returns"),
            ("information_ratio", "Information ratio", ratio, "mean / deviation of the difference, a year"),
        ),
    ),
)
HEADLINES: tuple[_Entry, ...] = (
    ("total_return", "Total return", percent, ""),
    ("annual_return", "Annual return", percent, ""),
    ("sharpe", "Sharpe ratio", decimal, ""),
    ("max_drawdown", "Max drawdown", percent, ""),
    ("win_rate", "Win rate", percent, ""),
    ("trades", "Round trips", whole, ""),
)


def entry_of(name: str) -> tuple[str, Callable[[float], str], str]:
    """Return a figure's words, how its value is written and what it means.

    Raises:
        KeyError: no report has it.
    """
    for _, entries in GROUPS:
        for known, words, write, meaning in entries:
            if known == name:
                return words, write, meaning
    raise KeyError(name)


def headlines(statistics: Statistics) -> tuple[Row, ...]:
    """Return the figures that come first."""
    return tuple(_row(statistics, entry) for entry in HEADLINES)


def groups(statistics: Statistics) -> tuple[Group, ...]:
    """Return all figures."""
    return tuple(
        Group(words, tuple(_row(statistics, entry) for entry in entries)) for words, entries in GROUPS
    )


def _row(statistics: Statistics, entry: _Entry) -> Row:
    name, words, write, meaning = entry
    value: float | None = getattr(statistics, name)
    if value is None:
        return Row(words, "\N{EN DASH}", f"undefined: {statistics.undefined[name]}")
    return Row(words, write(value), meaning)
