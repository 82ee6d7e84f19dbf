"""The figures of a run, and how an undefined one is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

YEAR_SECONDS = 365.25 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Undefined:
    """Stands where a figure has no value."""

    reason: str


Figure: TypeAlias = float | int | Undefined | None
Figures: TypeAlias = Mapping[str, Figure]
"""Figures by the name of their field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Returns are simple returns of the equity from one close to the next; the risk-free rate is 0.

    ``returns`` are those of all bars but the first, ``stdev`` is the sample deviation, ``years`` are of 365.25
    days from the first bar to the last. A figure that is None has its reason in ``undefined``.
    """

    bars: int
    initial_cash: float
    final_equity: float
    total_return: float
    """``final_equity / initial_cash - 1``."""
    bars_per_year: float | None
    """How many bars a year of this data has (see ``frequency``); every annual figure rests on it."""
    annual_return: float | None
    """``(1 + total_return) ** (1 / years) - 1``: compound annual growth rate (CAGR)."""
    volatility: float | None
    """``stdev(returns) * sqrt(bars_per_year)``."""
    sharpe: float | None
    """``mean(returns) / stdev(returns) * sqrt(bars_per_year)``; Sharpe, Journal of Portfolio Management, 1994."""
    sortino: float | None
    """``mean(returns) / sqrt(mean(min(returns, 0) ** 2)) * sqrt(bars_per_year)``; Sortino and Price, Journal of
    Investing, 1994, with a target of 0: the root is over all returns, not over the losing ones only."""
    calmar: float | None
    """``annual_return / max_drawdown``; Young, Futures, 1991, here over the whole run."""
    value_at_risk: float | None
    """Loss of one bar that 5 % of the bars exceed: ``-quantile(returns, 0.05)``, linear between two returns;
    historical value at risk (Jorion, Value at Risk, 2006)."""
    conditional_value_at_risk: float | None
    """Average loss of the worst bars: ``-mean`` of the lowest ``floor(0.05 * (n - 1)) + 1`` of n returns; expected
    shortfall (Acerbi and Tasche, Journal of Banking and Finance, 2002)."""

    max_drawdown: float
    """``max(1 - equity / highest equity so far)``, the highest from the initial cash on."""
    max_drawdown_bars: int
    """Bars of the deepest drawdown that closed below its peak, up to the recovery or the end."""
    max_drawdown_seconds: float
    """The same as time: from the peak's bar to the bar of the recovery, or to the last bar."""
    longest_drawdown_bars: int
    """Most bars in a row below the highest equity so far."""
    longest_drawdown_seconds: float
    """The longest time from a peak to its recovery, or to the last bar."""
    exposure: float
    """Share of the bars with a position at the close."""

    fills: int
    trades: int
    """Round trips; a position still open is none."""
    win_rate: float | None
    """Share of the trades with ``pnl > 0``."""
    profit_factor: float | None
    """Sum of the profits over the sum of the losses."""
    payoff_ratio: float | None
    """Average profit of the winning trades over the average loss of the losing ones."""
    expectancy: float | None
    """``mean(pnl)``: what a trade brings on average, in money; equal to ``win_rate`` times the average profit less
    the share of losing trades times the average loss (Tharp, Trade Your Way to Financial Freedom, 1998)."""
    average_trade_return: float | None
    """Mean of ``pnl / (|quantity| * entry_price)``."""
    best_trade: float | None
    """Highest ``pnl``."""
    worst_trade: float | None
    """Lowest ``pnl``."""
    average_trade_bars: float | None
    """Mean of ``exit_bar - entry_bar``."""
    longest_losing_streak: int
    """Most trades in a row with ``pnl < 0``, in the order of their exits."""
    system_quality_number: float | None
    """SQN: ``sqrt(trades) * mean(pnl) / stdev(pnl)``; Tharp, Definitive Guide to Position Sizing, 2008."""
    kelly_fraction: float | None
    """``win_rate - (1 - win_rate) / payoff_ratio``; Kelly, Bell System Technical Journal, 1956, for two outcomes:
    the average profit and the average loss. Negative where there is no edge."""

    fees: float
    """Commission of all fills."""
    borrow_cost: float
    """What shorts paid, over all bars with one: ``-quantity * close * borrow_rate * years since the bar before``,
    at each close and for each symbol."""
    turnover: float | None
    """Traded value, ``sum(|quantity| * price)`` over the fills, over the mean equity."""
    annual_turnover: float | None
    """``turnover / years``."""

    benchmark_return: float | None
    """Buying and holding the same bars: ``last close / first close - 1``, without costs; of several symbols each
    gets the same share of the money at the first close."""
    benchmark_max_drawdown: float | None
    """``max_drawdown`` of the benchmark."""
    excess_return: float | None
    """``total_return - benchmark_return``."""
    alpha: float | None
    """``(1 + mean(returns) - beta * mean(benchmark returns)) ** bars_per_year - 1``: Jensen, Journal of
    Finance, 1968, made annual."""
    beta: float | None
    """``covariance(returns, benchmark returns) / variance(benchmark returns)``."""
    correlation: float | None
    """Pearson's, of returns and benchmark returns."""
    information_ratio: float | None
    """``mean(d) / stdev(d) * sqrt(bars_per_year)`` of ``d = returns - benchmark returns``; Goodwin, Financial
    Analysts Journal, 1998."""

    open_position: float | None
    """Units held at the end, marked at the last close; undefined for several symbols, which have their own."""
    orders_waiting: int
    """Orders that had not filled at the end."""
    orders_refused: int
    """Orders that came to fill and did not, because ``exposure / equity`` would have been more than
    ``leverage_max`` (the only reason there is: others are refused when they are given, and end the run)."""
    orders_expired: int
    """Day orders that did not fill on the day (UTC) of the first bar that they could fill in."""
    margin_calls: int
    """How often everything was closed because ``equity < maintenance_margin * exposure`` at a close."""

    undefined: Mapping[str, str]
    """Why a figure is None, by its name."""


def statistics_of(figures: Mapping[str, Any]) -> Statistics:
    """Return the figures as a record, with the undefined ones told apart."""
    undefined = {name: value.reason for name, value in figures.items() if isinstance(value, Undefined)}
    values: dict[str, Any] = {**figures, **dict.fromkeys(undefined)}
    return Statistics(**values, undefined=undefined)
