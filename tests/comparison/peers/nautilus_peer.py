"""nautilus_trader: the level rule as one of its strategies.

It has an environment of its own, for it wants an older pandas. Its market orders fill at
the close of the bar that decided, not at the next open, so it is compared by speed only.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import PerContractFeeModel
from nautilus_trader.config import BacktestEngineConfig, LoggingConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy
from workload import CASH, FAST, SLOW, UNITS, Answer, serve, walk_frame

INSTRUMENT = TestInstrumentProvider.equity(symbol="WALK", venue="SIM")
BAR_TYPE = BarType.from_str(f"{INSTRUMENT.id}-1-MINUTE-LAST-EXTERNAL")


class Level(Strategy):
    def __init__(self) -> None:
        super().__init__(StrategyConfig())
        self.quick = SimpleMovingAverage(FAST)
        self.steady = SimpleMovingAverage(SLOW)
        self.size = Quantity.from_int(UNITS)

    def on_start(self) -> None:
        self.register_indicator_for_bars(BAR_TYPE, self.quick)
        self.register_indicator_for_bars(BAR_TYPE, self.steady)
        self.subscribe_bars(BAR_TYPE)

    def on_bar(self, bar: Bar) -> None:
        if not self.indicators_initialized():
            return
        above = self.quick.value > self.steady.value
        if above and self.portfolio.is_flat(INSTRUMENT.id):
            self.submit_order(self.order_factory.market(INSTRUMENT.id, OrderSide.BUY, self.size))
        elif not above and self.portfolio.is_net_long(INSTRUMENT.id):
            self.submit_order(self.order_factory.market(INSTRUMENT.id, OrderSide.SELL, self.size))


def prepare(bars: int) -> list[Bar]:
    frame = walk_frame(bars).rename(columns=str.lower)
    frame.index = frame.index.tz_localize("UTC")
    return BarDataWrangler(BAR_TYPE, INSTRUMENT).process(frame)


def run(bars: list[Bar], _short: bool) -> Callable[[], Answer]:
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=USD,
        starting_balances=[Money(Decimal(CASH), USD)],
        fee_model=PerContractFeeModel(Money(Decimal("0.1"), USD)),
    )
    engine.add_instrument(INSTRUMENT)
    engine.add_data(bars, validate=False, sort=False)
    engine.add_strategy(Level())
    engine.run()
    account: Any = engine.cache.account_for_venue(Venue("SIM"))
    # One position that opens again and again; each earlier life of it is a snapshot.
    closed = len(engine.cache.positions_closed()) + len(engine.cache.position_snapshots())
    final = float(account.balance_total(USD).as_double())
    engine.dispose()
    return lambda: Answer(final, [(0, 0, 0.0, 0.0, 0.0, 0.0)] * closed)


if __name__ == "__main__":
    serve(run, prepare=prepare)
