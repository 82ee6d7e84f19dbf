"""Real daily bars of four shares: no faults, and the level rule gives what independent arithmetic gives."""

import csv
import gzip
import io
from fractions import Fraction
from importlib import resources
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import check_bars, load_bars, read_bars, write_canonical
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters

pytestmark = pytest.mark.unit

CASH, RATE, UNITS = 10_000_000.0, 0.001, 100.0


def real_bars(ticker: str, directory: Path) -> Bars:
    """Extract one share, check it and write it in canonical form."""
    content = gzip.decompress((resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes())
    rows = list(csv.reader(io.StringIO(content.decode())))
    path = directory / f"{ticker}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row for row in rows if row[0] == ticker)])
    table = read_bars(path)
    assert check_bars(table) == []
    write_canonical(table, directory / f"{ticker}.parquet")
    return load_bars(directory / f"{ticker}.parquet")


@pytest.mark.parametrize(("ticker", "count"), [("AAPL", 3270), ("IBM", 3270), ("MSFT", 3270), ("GOOG", 2148)])
@pytest.mark.parametrize("allow_short", [False, True])
def test_level_rule_equals_independent_arithmetic(
    tmp_path: Path, ticker: str, count: int, allow_short: bool
) -> None:
    """SMA 10/30 of 100 units: final equity and number of closed trades equal a vectorised calculation."""
    bars = real_bars(ticker, tmp_path)
    assert len(bars) == count
    strategy = SmaCross(SmaCrossParameters(fast=10, slow=30, quantity=UNITS, allow_short=allow_short))
    engine = BacktestingEngine(bars, strategy, initial_cash=CASH, commission_rate=RATE)
    engine.advance()

    # Exact: averages of prices in cents are equal now and then, and sums of floats say so on some processors only.
    sums = [Fraction(0), *accumulate(map(Fraction, bars.close.tolist()))]
    above = [(sums[n] - sums[n - 10]) * 3 - (sums[n] - sums[n - 30]) for n in range(30, len(sums))]
    below = -UNITS if allow_short else 0.0
    level = np.array([0.0] * 29 + [UNITS if each > 0 else below if each < 0 else 0.0 for each in above])
    held = np.concatenate(([0.0], level[:-1]))  # decided at one close, held from the next open
    traded = np.diff(held, prepend=0.0)
    expected = (
        CASH + held[-1] * bars.close[-1] - np.sum(traded * bars.open + np.abs(traded) * bars.open * RATE)
    )
    assert engine.equity[-1] == pytest.approx(expected, abs=1e-5)
    assert engine.curve.position.tolist() == held.tolist()
    ended = np.count_nonzero((traded != 0) & (np.concatenate(([0.0], held[:-1])) != 0))
    assert len(engine.trades) == ended
