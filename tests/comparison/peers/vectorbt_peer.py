"""vectorbt: the level rule as target positions, decided at a close and filled at the next open."""

from collections.abc import Callable
from typing import Any

import numpy as np
import vectorbt as vbt
from workload import CASH, FAST, RATE, SLOW, UNITS, Answer, serve


def run(frame: Any, short: bool) -> Callable[[], Answer]:
    close = frame["Close"]
    above = close.rolling(FAST).mean() > close.rolling(SLOW).mean()
    target = np.where(above, float(UNITS), -float(UNITS) if short else 0.0)
    target[: SLOW - 1] = 0.0
    target = np.concatenate(([0.0], target[:-1]))
    portfolio = vbt.Portfolio.from_orders(
        close,
        size=target,
        size_type="targetamount",
        price=frame["Open"],
        fees=RATE,
        init_cash=CASH,
        direction="both",
        freq="1D",
    )
    equity = portfolio.value()  # computed when it is asked for
    return lambda: answer(portfolio, equity.tolist())


def answer(portfolio: Any, equity: list[float]) -> Answer:
    rows = portfolio.trades.closed.values
    signs = np.where(rows["direction"] == 0, 1.0, -1.0)
    columns = (
        rows["entry_idx"].tolist(),
        rows["exit_idx"].tolist(),
        (signs * rows["size"]).tolist(),
        rows["entry_price"].tolist(),
        rows["exit_price"].tolist(),
        rows["pnl"].tolist(),
    )
    return Answer(equity[-1], list(zip(*columns, strict=True)), equity)


if __name__ == "__main__":
    serve(run)
