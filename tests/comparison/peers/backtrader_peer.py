"""backtrader: the level rule as one of its strategies."""

from collections.abc import Callable
from typing import Any

import backtrader as bt
from workload import CASH, FAST, RATE, SLOW, UNITS, Answer, serve


class Level(bt.Strategy):
    params = (("short", False),)

    def __init__(self) -> None:
        self.quick = bt.indicators.SMA(self.data.close, period=FAST)
        self.steady = bt.indicators.SMA(self.data.close, period=SLOW)
        self.marks: list[float] = []
        self.closed: list[tuple[int, int, float, float, float, float]] = []
        self.exit_price = 0.0

    def prenext(self) -> None:
        self.marks.append(self.broker.getvalue())

    def next(self) -> None:
        self.marks.append(self.broker.getvalue())
        below = -UNITS if self.p.short else 0
        target = UNITS if self.quick[0] > self.steady[0] else below
        if self.position.size != target:
            self.order_target_size(target=target)

    def notify_trade(self, trade: Any) -> None:
        if trade.isclosed:
            units = trade.history[0].event.size if trade.history else UNITS
            exit_price = trade.price + trade.pnl / units
            self.closed.append(
                (trade.baropen - 1, trade.barclose - 1, units, trade.price, exit_price, trade.pnlcomm)
            )


def run(frame: Any, short: bool) -> Callable[[], Answer]:
    cerebro = bt.Cerebro(stdstats=False, tradehistory=True)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Level, short=short)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=RATE)
    found = cerebro.run()[0]
    return lambda: Answer(found.marks[-1], found.closed, found.marks)


if __name__ == "__main__":
    serve(run)
