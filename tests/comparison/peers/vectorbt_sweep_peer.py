"""vectorbt: all combinations as columns of one portfolio, which is how it sweeps.

Its averages are running sums, whose rounding decides where two averages are nearly equal, as they often are with
prices in cents. With ``exact`` after the bars the same rule decides on exact sums instead, so that everything else
can be compared.
"""

import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from sweep_workload import PAIRS, Swept, serve_sweep
from workload import CASH, RATE, UNITS, walk_frame

EXACT = sys.argv[2:] == ["exact"]


def above(close: Any) -> Any:
    """Return where the fast average is above the slow one: (bars, combinations)."""
    fast = vbt.MA.run(close, window=[fast for fast, _ in PAIRS], short_name="fast").ma.to_numpy()
    slow = vbt.MA.run(close, window=[slow for _, slow in PAIRS], short_name="slow").ma.to_numpy()
    return fast > slow


def above_exactly(close: Any) -> Any:
    """Return the same by exact sums of the prices as they are; slow."""
    # Prices from 1 on are whole multiples of 2**-52; Python's whole numbers have no end.
    whole = [int(price * 2.0**52) for price in close]
    sums = np.array([0, *accumulate(whole)], dtype=object)
    found = np.zeros((len(close), len(PAIRS)), dtype=bool)
    for column, (fast, slow) in enumerate(PAIRS):
        quick, steady = (sums[slow:] - sums[slow - window : -window] for window in (fast, slow))
        found[slow - 1 :, column] = quick * slow > steady * fast
    return found


def run(frame: Any) -> Callable[[], Swept]:
    close = frame["Close"]
    decided = (above_exactly if EXACT else above)(close)
    target = np.zeros(decided.shape)
    # Decided at a close, filled at the next open.
    target[1:] = np.where(decided[:-1], float(UNITS), 0.0)
    columns = pd.MultiIndex.from_tuples(PAIRS, names=["fast", "slow"])
    portfolio = vbt.Portfolio.from_orders(
        close,
        size=pd.DataFrame(target, index=close.index, columns=columns),
        size_type="targetamount",
        price=frame["Open"],
        fees=RATE,
        init_cash=CASH,
        direction="both",
        freq="1min",
    )
    final, sharpe, fall = portfolio.final_value(), portfolio.sharpe_ratio(), portfolio.max_drawdown()
    return lambda: Swept(final.tolist(), sharpe.tolist(), (-fall).tolist())


if __name__ == "__main__":
    serve_sweep(run, walk_frame)
