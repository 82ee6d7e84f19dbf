"""Three ways to call a strategy, one result: fills, round trips, marks and outcome equal to the last bit."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.errors import TornBarError
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.strategy import CompiledRule
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.waking import WakeWhen
from milepost_backtester.strategies.bollinger import Bollinger
from milepost_backtester.strategies.buy_and_hold import BuyAndHold
from milepost_backtester.strategies.donchian_breakout import DonchianBreakout
from milepost_backtester.strategies.ema_cross import EmaCross
from milepost_backtester.strategies.rsi_reversion import RsiReversion
from milepost_backtester.strategies.signals import exact_difference
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.strategies import (
    BollingerParameters,
    BuyAndHoldParameters,
    DonchianBreakoutParameters,
    EmaCrossParameters,
    RsiReversionParameters,
    SmaCrossParameters,
)

from tests.backtester.backtest_doubles import Script, Trader, bars_of, digest_of, through_json
from tests.backtester.portfolio_doubles import holed, portfolio
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

TERMS = Terms(
    commission_rate=0.001, commission_fixed=0.1, spread=0.01, slippage_random_rate=0.001, borrow_rate=0.1
)
LIBRARY: dict[str, Callable[[], Any]] = {
    "sma": lambda: SmaCross(SmaCrossParameters(fast=3, slow=8, quantity=3, allow_short=True)),
    "ema": lambda: EmaCross(EmaCrossParameters(fast=3, slow=8, quantity=3, allow_short=True)),
    "rsi": lambda: RsiReversion(RsiReversionParameters(period=5, enter=40, leave=55)),
    "donchian": lambda: DonchianBreakout(DonchianBreakoutParameters(enter=9, leave=4, allow_short=True)),
    "donchian, long exit": lambda: DonchianBreakout(DonchianBreakoutParameters(enter=5, leave=12)),
    "bollinger": lambda: Bollinger(BollingerParameters(window=12, deviations=1.5)),
    "hold": lambda: BuyAndHold(BuyAndHoldParameters()),
}


def engine_in(tier: Any, strategy: Any, bars: Bars) -> BacktestingEngine:
    return BacktestingEngine(bars, strategy, initial_cash=50_000.0, terms=TERMS, tier=tier)


def result_in(tier: Any, strategy: Any, bars: Bars) -> str:
    engine = engine_in(tier, strategy, bars)
    engine.advance()
    return digest_of(engine)


@pytest.mark.parametrize("name", LIBRARY)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 300), step=st.sampled_from([0.01, 0.3]))
@settings(max_examples=15, deadline=None)
def test_compiled_and_python_decide_the_same(name: str, seed: int, count: int, step: float) -> None:
    """Every rule of the library trades the same bars at the same prices in both tiers."""
    bars = make_bars(count, seed, step=step)
    assert result_in("compiled", LIBRARY[name](), bars) == result_in("python", LIBRARY[name](), bars)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_trades(name: str) -> None:
    """No rule is idle on a random walk, so the comparisons above compare something."""
    engine = engine_in("compiled", LIBRARY[name](), make_bars(3000, seed=3))
    engine.advance()
    assert len(engine.fills) == 1 if name == "hold" else len(engine.trades) > 20


@pytest.mark.parametrize("tier", ["compiled", "python"])
@pytest.mark.parametrize("name", LIBRARY)
def test_a_rule_cut_anywhere_ends_the_same(name: str, tier: Any) -> None:
    """A state taken after any bar leads a new engine to the same end."""
    bars = make_bars(60, seed=12)
    expected = result_in(tier, LIBRARY[name](), bars)
    for cut in range(len(bars) + 1):
        first, second = (engine_in(tier, LIBRARY[name](), bars) for _ in range(2))
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


def test_a_long_run_is_the_same_in_both_tiers() -> None:
    """Across many chunks and renewals of sums the two tiers agree, and so do odd boundaries."""
    bars = make_bars(30_000, seed=5, step=0.02)
    for parameters in (SmaCrossParameters(fast=10, slow=30), SmaCrossParameters(fast=700, slow=1500)):
        expected = result_in("python", SmaCross(parameters), bars)
        engine = engine_in("compiled", SmaCross(parameters), bars)
        while engine.bar_index < engine.total_bars:
            engine.advance(engine.bar_index + 777)
        assert digest_of(engine) == expected


@given(
    closes=st.lists(st.integers(1, 12), min_size=6, max_size=40),
    fast=st.integers(1, 3),
    more=st.integers(1, 3),
    unit=st.sampled_from([1.0, 0.1, 0.01, 1e-9, 1e9, 3.3]),
)
@settings(max_examples=150, deadline=None)
def test_ties_are_decided_exactly(closes: list[int], fast: int, more: int, unit: float) -> None:
    """The exact comparison has the sign of the fractions, and the running sums never contradict it."""
    slow, prices = fast + more, [close * unit for close in closes]
    array = np.array(prices)
    levels = [
        sum(map(Fraction, prices[stop - fast : stop])) * slow
        - sum(map(Fraction, prices[stop - slow : stop])) * fast
        for stop in range(slow, len(prices) + 1)
    ]
    signs = [(level > 0) - (level < 0) for level in levels]
    assert [
        np.sign(exact_difference(array, stop, fast, slow)) for stop in range(slow, len(prices) + 1)
    ] == signs
    bars = bars_of(*[(price, price, price, price) for price in prices])
    parameters = SmaCrossParameters(fast=fast, slow=slow, quantity=1, allow_short=True)
    for tier in ("compiled", "python"):
        engine = BacktestingEngine(bars, SmaCross(parameters), tier=tier)  # type: ignore[arg-type]
        engine.advance()
        assert engine.curve.position[slow:].tolist() == signs[:-1]


class Sleeper(Script):
    """Acts only at bars that it asked for: levels around the price, every 50 bars, and whenever an order fills."""

    def __init__(self) -> None:
        super().__init__({})
        self.above, self.below, self.fills_seen = 0.0, 0.0, 0.0
        self.calls = 0

    def wake_when(self) -> WakeWhen:
        if not self.above:
            return WakeWhen(every_bars=1)
        return WakeWhen(every_bars=50, above=self.above, below=self.below)

    def on_bar(self, bar: Any, broker: Any) -> None:
        self.calls += 1
        started = self.above != 0
        touched = bar.high >= self.above or bar.low <= self.below
        filled = broker.position != self.fills_seen
        if started and not touched and not filled and (bar.index + 1) % 50:
            return
        self.fills_seen = broker.position
        self.above, self.below = bar.close + 1.5, bar.close - 1.5
        if filled:
            return
        side = 1.0 if broker.position <= 0 else -1.0
        broker.order(
            side * 5, Conditions(limit=bar.close - side * 0.3, stop_loss=bar.close - side * 2, day=True)
        )

    def state_dict(self) -> dict[str, Any]:
        return {"above": self.above, "below": self.below, "fills_seen": self.fills_seen}

    def load_state_dict(self, state: Any) -> None:
        self.above, self.below, self.fills_seen = state["above"], state["below"], state["fills_seen"]


@pytest.mark.parametrize("seed", range(6))
def test_waking_and_seeing_every_bar_are_the_same(seed: int) -> None:
    """A strategy called only when it asked ends as one called at every bar, with fewer calls; also when cut."""
    bars = make_bars(2500, seed=seed, step=0.1)
    asleep, awake = Sleeper(), Sleeper()
    expected = result_in("python", awake, bars)
    assert result_in("wake", asleep, bars) == expected
    assert asleep.calls < awake.calls / 2
    for cut in (0, 1, 49, 50, 51, 777, 1600, 2499):
        first, second = engine_in("wake", Sleeper(), bars), engine_in("wake", Sleeper(), bars)
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


class Asked(Script):
    """Remembers when it was called."""

    def __init__(self, when: WakeWhen) -> None:
        super().__init__({})
        self.when = when

    def wake_when(self) -> WakeWhen:
        return self.when


FIVE = bars_of((10, 11, 9, 10), (10, 12, 10, 11), (11, 13, 11, 12), (12, 12, 7, 8), (8, 9, 8, 9))


@pytest.mark.parametrize(
    ("when", "bars"),
    [
        (WakeWhen(), []),
        (WakeWhen(every_bars=2), [1, 3]),
        (WakeWhen(above=12.0), [1, 2, 3]),
        (WakeWhen(below=8.0), [3, 4]),
        (WakeWhen(at_timestamp=int(FIVE.timestamp[3])), [3, 4]),
    ],
)
def test_wake_conditions(when: WakeWhen, bars: list[int]) -> None:
    """Each condition wakes at its bars and no others."""
    strategy = Asked(when)
    engine_in("wake", strategy, FIVE).advance()
    assert [index for index, _ in strategy.seen] == bars


class Mine(SmaCross):
    """Has an ``on_bar`` of its own and inherits the compiled rule."""

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Do nothing."""


def test_an_inherited_rule_does_not_stand_for_another_on_bar() -> None:
    """A subclass that decides otherwise is called at every bar, not replaced by its parent's rule."""
    engine = engine_in("auto", Mine(SmaCrossParameters(fast=2, slow=3)), make_bars(200))
    engine.advance()
    assert engine.fills == []


def test_a_tier_that_is_not_offered_is_refused() -> None:
    """Who asks for a compiled tier of a plain strategy is told which one there is."""
    with pytest.raises(ValueError, match="'python'"):
        engine_in("compiled", Script({}), FIVE)


class Watcher(Trader):
    """Mostly market orders, now and then others; writes down what it sees of the account, at some bars only."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, every=9)
        self.sights: list[Any] = []

    def wake_when(self) -> WakeWhen:
        return WakeWhen(every_bars=1)

    def on_bar(self, bar: Any, broker: Any) -> None:
        super().on_bar(bar, broker)
        number = self._number
        if number // 3 % 2:
            self.sights.append((bar.index, broker.position))
        if number // 17 % 5 == 0:
            self.sights.append((bar.index, broker.cash, broker.equity))
        if number // 19 % 11 == 0:
            self.sights.append((bar.index, broker.waiting))
        if number // 23 % 3 == 0:
            self.sights.append(broker.order(float(number // 29 % 9 - 4) or 0.1))
        if number // 31 % 13 == 0:
            self.sights.append(broker.cancel(broker.order(1.0)))
        if number // 37 % 4 == 0:
            self.sights.append(broker.target(float(number // 41 % 5 - 2)))
        if number // 43 % 17 == 0:
            self.sights.append((bar.index, broker.cash, broker.position))


@given(
    seed=st.integers(0, 2**31),
    terms=st.sampled_from([Terms(), Terms(commission_rate=0.001), TERMS, Terms(leverage_max=2.0)]),
    steps=st.lists(st.integers(1, 90), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_orders_that_are_scheduled_change_nothing(seed: int, terms: Terms, steps: list[int]) -> None:
    """A strategy whose market orders run ahead of the account sees and gets what one called bar by bar does."""
    bars = make_bars(400, seed % 1000, step=0.3)
    awake, watched = Watcher(seed), Watcher(seed)
    slow = BacktestingEngine(bars, awake, initial_cash=5000.0, terms=terms, tier="wake")
    slow.advance()
    fast = BacktestingEngine(bars, watched, initial_cash=5000.0, terms=terms, tier="python")
    for step in steps:
        fast.advance(fast.bar_index + step)
    fast.advance()
    assert watched.sights == awake.sights
    assert digest_of(fast) == digest_of(slow)
    assert fast.state_dict() == slow.state_dict()


@pytest.mark.parametrize("tier", ["compiled", "python"])
def test_the_broker_values_the_account_wherever_a_run_stops(tier: Any) -> None:
    """After bars, after none, after a state was put back, its equity is the curve's last, of any symbols."""
    for bars, make in (
        (make_bars(300), LIBRARY["sma"]),
        (portfolio(holed(3, 300)), lambda: EachSymbol({name: LIBRARY["sma"]() for name in "abc"})),
    ):
        engine, other = (BacktestingEngine(bars, make(), terms=TERMS, tier=tier) for _ in range(2))
        for stop in (1, 200, 150, 201):
            assert engine.advance(stop) == max(stop, engine.bar_index)
            assert engine.broker.equity == engine.equity[-1]
        assert len(engine.fills) > 3
        other.load_state_dict(through_json(engine.state_dict()), engine.logs.copy())
        assert other.broker.equity == engine.equity[-1]


class Breaking(Script):
    """A compiled rule, in plain Python, that fails in the second chunk that it is asked for."""

    def __init__(self) -> None:
        super().__init__({})

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Nothing."""

    def compiled_rule(self) -> CompiledRule:
        """Return it."""

        def signals(start: int, stop: int, *arrays: Any) -> None:
            del stop
            if start:
                raise RuntimeError("wrong line reached")
            arrays[-1][:] = 2.0

        return CompiledRule(signals, np.empty(0), np.empty(0))


def test_a_compiled_rule_that_fails_leaves_the_bars_before_it_done() -> None:
    """The engine is torn after the bars that were done, and goes on from their state."""
    engine = engine_in("compiled", Breaking(), make_bars(100))
    engine.advance(40)
    state = engine.state_dict()
    with pytest.raises(RuntimeError, match="wrong line"):
        engine.advance(60)
    assert engine.bar_index == 40
    with pytest.raises(TornBarError):
        engine.advance()
    engine.load_state_dict(state)
    assert engine.state_dict() == state
