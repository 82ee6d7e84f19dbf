"""Runs for reports, made by plain arithmetic: no engine is needed to draw."""

import csv
import gzip
import io
from importlib import resources
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.report.content import FillMarks, Instrument, ReportContent, TradeMarks
from milepost_backtester.statistics import compute_statistics

CASH, RATE = 100_000.0, 0.001
SPEC: dict[str, Any] = {
    "data": {"name": "goog", "digest": "sha256:" + "0" * 64},
    "strategy": {"name": "sma-cross", "parameters": {"fast": 10, "slow": 30, "quantity": 100.0}},
    "initial_cash": CASH,
    "commission_rate": RATE,
}
FILL = [("bar", "i8"), ("quantity", "f8"), ("price", "f8"), ("commission", "f8")]
TRADE = [
    ("entry_bar", "i8"),
    ("exit_bar", "i8"),
    ("quantity", "f8"),
    ("entry_price", "f8"),
    ("exit_price", "f8"),
    ("pnl", "f8"),
]


def shares(ticker: str = "GOOG") -> tuple[Integers, Floats, Floats]:
    """Return times, opens and closes of real daily bars."""
    content = gzip.decompress((resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes())
    rows = [row for row in csv.reader(io.StringIO(content.decode())) if row[0] == ticker]
    times = np.array([row[1] for row in rows], dtype="datetime64[ns]").astype(np.int64)
    return times, np.array([row[2] for row in rows], float), np.array([row[5] for row in rows], float)


def walk(bars: int, *, seconds: int = 60) -> tuple[Integers, Floats, Floats]:
    """Return times, opens and closes of a random walk."""
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.001, bars)))
    opens = np.concatenate((closes[:1], closes[:-1]))
    times = np.datetime64("2021-03-01", "ns").astype(np.int64) + np.arange(bars) * seconds * 10**9
    return times, opens, closes


def crossed(
    data: tuple[Integers, Floats, Floats],
    *,
    units: float = 100.0,
    title: str = "sma-cross on goog",
    spec: dict[str, Any] | None = None,
    fast: int = 10,
    slow: int = 30,
) -> ReportContent:
    """Return the level rule of two averages: decided at the close, filled at the next open."""
    times, opens, closes = data
    held = np.zeros(len(closes))
    if len(closes) > slow:
        quick, steady = (
            np.convolve(closes, np.ones(window) / window)[: len(closes)] for window in (fast, slow)
        )
        held[slow:] = np.where(quick > steady, units, 0.0)[slow - 1 : -1]
    traded = np.diff(held, prepend=0.0)
    fees = np.abs(traded) * opens * RATE
    cash = CASH - np.cumsum(traded * opens + fees)
    curve = EquityCurve(times, cash + held * closes, cash, held)
    at = np.flatnonzero(traded)
    fills = np.array(list(zip(at, traded[at], opens[at], fees[at], strict=True)), dtype=FILL)
    entries, exits = at[0::2][: len(at) // 2], at[1::2]
    gains = units * (opens[exits] - opens[entries]) - fees[entries] - fees[exits]
    rows = zip(entries, exits, np.full(len(exits), units), opens[entries], opens[exits], gains, strict=True)
    trades = np.array(list(rows), dtype=TRADE)
    return ReportContent(
        title=title,
        timestamp=times,
        equity=curve.equity,
        instruments=(
            Instrument(
                "goog",
                closes,
                FillMarks(fills["bar"], fills["quantity"], fills["price"]),
                TradeMarks(
                    trades["entry_bar"],
                    trades["exit_bar"],
                    trades["entry_price"],
                    trades["exit_price"],
                    trades["pnl"],
                ),
            ),
        ),
        statistics=compute_statistics(curve, fills, trades, initial_cash=CASH, closes=closes),
        spec=spec or SPEC,
    )
