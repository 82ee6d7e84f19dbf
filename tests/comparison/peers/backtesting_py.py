"""backtesting.py: the level rule as one of its strategies."""

from collections.abc import Callable
from typing import Any

from backtesting import Backtest, Strategy
from workload import CASH, FAST, RATE, SLOW, UNITS, Answer, serve


def mean(values: Any, window: int) -> Any:
    import pandas as pd

    return pd.Series(values).rolling(window).mean()


class Level(Strategy):
    short = False

    def init(self) -> None:
        self.quick = self.I(mean, self.data.Close, FAST)
        self.steady = self.I(mean, self.data.Close, SLOW)

    def next(self) -> None:
        above = self.quick[-1] > self.steady[-1]
        if above and not self.position.is_long:
            self.position.close()
            self.buy(size=UNITS)
        elif not above and not self.position.is_short:
            self.position.close()
            if self.short:
                self.sell(size=UNITS)


def run(frame: Any, short: bool) -> Callable[[], Answer]:
    test = Backtest(frame, Level, cash=CASH, commission=RATE, trade_on_close=False, finalize_trades=False)
    stats = test.run(short=short)
    return lambda: answer(stats)


def answer(stats: Any) -> Answer:
    rows = stats._trades
    trades = [
        (row.EntryBar, row.ExitBar, row.Size, row.EntryPrice, row.ExitPrice, row.PnL)
        for row in rows.itertuples()
    ]
    equity = stats._equity_curve["Equity"].tolist()
    return Answer(equity[-1], trades, equity)


if __name__ == "__main__":
    serve(run)
