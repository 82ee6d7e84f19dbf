"""Several symbols on one account: alignment, orders, and everything that holds for one symbol."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.errors import BarsError, OrderError, StateError
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.strategy import CompiledRule
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.rotation import Rotation
from milepost_contracts.specs.strategies import RotationParameters

from tests.backtester.backtest_doubles import Script, bars_of, digest_of, through_json
from tests.backtester.portfolio_doubles import (
    PortfolioScript,
    PortfolioTrader,
    holed,
    portfolio,
    some_rows,
    spaced,
)
from tests.backtester.test_backtester_tiers import LIBRARY
from tests.support.bars import MINUTE, make_bars

pytestmark = pytest.mark.unit

TERMS = Terms(
    commission_rate=0.001,
    spread=0.02,
    slippage_random_rate=0.001,
    slippage_seed=5,
    leverage_max=2.0,
    maintenance_margin=0.4,
    borrow_rate=0.1,
)


def run(bars: PortfolioBars, strategy: Any, *, cash: float = 5000.0, **settings_: Any) -> BacktestingEngine:
    engine = BacktestingEngine(bars, strategy, initial_cash=cash, **settings_)
    engine.advance()
    return engine


def fills_of(engine: BacktestingEngine) -> list[tuple[int, int, float, float]]:
    return [(fill.bar, fill.symbol, fill.quantity, fill.price) for fill in engine.fills]


def later(bars: Bars, minutes: int) -> Bars:
    return Bars(bars.timestamp + minutes * MINUTE, bars.open, bars.high, bars.low, bars.close, bars.volume)


ROW = (10.0, 11.0, 9.0, 10.0)


def test_bars_lie_on_the_union_of_their_times() -> None:
    """Each symbol's bars stand at their times; elsewhere it has no prices but its last close, and no volume."""
    first, second = bars_of(ROW, (10, 12, 10, 12), (12, 12, 12, 12)), later(bars_of((5, 6, 4, 5)), 1)
    bars = portfolio([some_rows(first, [0, 2]), second])
    assert (bars.timestamp // MINUTE).tolist() == [0, 1, 2]
    assert bars.close.tolist() == [[10, 10, 12], [0, 5, 5]]
    assert np.isnan(bars.open).tolist() == [[False, True, False], [True, False, True]]
    assert bars.volume.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert [places.tolist() for places in bars.places] == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("names", "bars", "words"),
    [
        ("aab", [bars_of(ROW)] * 3, "a is given more than once"),
        ("ab", [bars_of(ROW), bars_of(ROW, ROW)][:1], "2 names for 1"),
        ("", [], "1 to 128 symbols"),
        ("ab", [bars_of(ROW), some_rows(bars_of(ROW), [])], "b has no bars"),
        (
            "abc",
            [bars_of(ROW, ROW), later(bars_of(ROW), 1), later(bars_of(ROW), 5)],
            "c begins at 1970-01-01T00:05:00, after all before it have ended: a at 1970-01-01T00:01:00",
        ),
    ],
)
def test_symbols_that_cannot_be_together_are_named(names: str, bars: list[Bars], words: str) -> None:
    """Twice the same name, no bars, no time in common: each is refused in words."""
    with pytest.raises(BarsError, match=words):
        PortfolioBars.of(tuple(names), bars)


def test_one_account_trades_all_symbols() -> None:
    """Cash, equity and positions by hand: two symbols bought at their next opens, one of them a bar later."""
    first = bars_of((10, 11, 9, 10), (12, 13, 11, 12), (13, 14, 12, 14))
    second = some_rows(bars_of((5, 5, 5, 5), (1, 1, 1, 1), (6, 7, 6, 7)), [0, 2])
    strategy = PortfolioScript({0: lambda b: (b.order(10, symbol="a"), b.order(20, symbol="b"))})
    engine = run(portfolio([first, second]), strategy, cash=1000.0, commission_rate=0.01)
    assert fills_of(engine) == [(1, 0, 10, 12), (2, 1, 20, 6)]
    assert engine.curve.position.tolist() == [[0, 10, 10], [0, 0, 20]]
    assert engine.equity.tolist() == pytest.approx([1000, 998.8, 1000 - 1.2 - 1.2 + 20 + 20])
    assert strategy.seen == [(0, {"a": 10, "b": 5}), (1, {"a": 12}), (2, {"a": 14, "b": 7})]
    assert engine.broker.equity == engine.equity[-1]


def test_nothing_of_a_symbol_without_a_bar_happens() -> None:
    """No stop triggers, no day ends and no trail moves while the symbol has no bar; its own next bars decide."""
    day = 24 * 60
    whole = bars_of(*[(10, 20, 5, 10)] * 2, *[(10, 11, 9, 10)] * 3)
    own = some_rows(bars_of(*[(10, 10.5, 9.5, 10)] * 5), [0, 3, 4])
    own = Bars(own.timestamp * day, own.open, own.high, own.low, own.close, own.volume)
    whole = Bars(whole.timestamp * day, whole.open, whole.high, whole.low, whole.close, whole.volume)
    actions = {
        0: lambda b: (
            b.order(1, Conditions(limit=9.7, day=True), symbol="b"),
            b.order(1, Conditions(limit=9.4, day=True), symbol="b"),
            b.order(2, Conditions(stop=12), symbol="b"),
        )
    }
    engine = run(portfolio([whole, own]), PortfolioScript(actions))
    assert fills_of(engine) == [(3, 1, 1, 9.7)]
    assert engine.outcome.orders_expired == 1
    assert [order.stop for order in engine.waiting] == [12]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda b: b.order(1, symbol="x"), "no symbol is called 'x'; there are: a, b"),
        (lambda b: b.order(1, symbol="b"), "no bar up to bar 0"),
        (lambda b: b.order(0, symbol="a"), "at bar 0"),
    ],
)
def test_impossible_orders_are_refused(action: Any, words: str) -> None:
    """An unknown symbol, one that has not begun, and an order of nothing are refused in words."""
    bars = portfolio([bars_of(ROW, ROW), later(bars_of(ROW), 1)])
    with pytest.raises(OrderError, match=words):
        run(bars, PortfolioScript({0: action}))


def each(name: str, symbols: int = 3) -> EachSymbol:
    return EachSymbol({symbol: LIBRARY[name]() for symbol in "abcdefgh"[:symbols]})


@pytest.mark.parametrize("name", LIBRARY)
def test_a_rule_for_each_symbol_trades_as_alone(name: str) -> None:
    """Side by side in one account each symbol fills as it does alone, in both tiers."""
    bars = holed(3, count=400)
    compiled, python = (run(portfolio(bars), each(name), tier=tier) for tier in ("compiled", "python"))
    assert digest_of(compiled) == digest_of(python)
    for symbol, part in enumerate(bars):
        alone = BacktestingEngine(part, LIBRARY[name](), initial_cash=5000.0)
        alone.advance()
        together = [fill for fill in compiled.fills if fill.symbol == symbol]
        assert [(fill.quantity, fill.price) for fill in together] == [
            (fill.quantity, fill.price) for fill in alone.fills
        ]


MAKERS: dict[str, tuple[Any, Any]] = {
    "every kind of order": (lambda: PortfolioTrader(seed=4), "python"),
    "ema, compiled": (lambda: each("ema"), "compiled"),
    "sma, python": (lambda: each("sma"), "python"),
    "rotation": (lambda: Rotation(RotationParameters(lookback=5, hold=2, every=3)), "python"),
    "rotation, compiled": (lambda: Rotation(RotationParameters(lookback=5, hold=2, every=3)), "compiled"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_cut_after_any_bar_ends_the_same(name: str) -> None:
    """Bars 1 to n, then n+1 to m in a new engine from the state as JSON, equal bars 1 to m, for every n."""
    make, tier = MAKERS[name]
    bars = portfolio(holed(7, count=120))
    expected = digest_of(run(bars, make(), terms=TERMS, tier=tier))
    for cut in range(len(bars) + 1):
        first, second = (
            BacktestingEngine(bars, make(), initial_cash=5000.0, terms=TERMS, tier=tier) for _ in range(2)
        )
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


@pytest.mark.parametrize("name", MAKERS)
def test_where_advance_stops_changes_nothing(name: str) -> None:
    """Odd boundaries, across chunks too, leave the same result."""
    make, tier = MAKERS[name]
    bars = portfolio(holed(8, count=300))
    engine = BacktestingEngine(bars, make(), initial_cash=5000.0, terms=TERMS, tier=tier)
    while engine.bar_index < engine.total_bars:
        engine.advance(engine.bar_index + 7)
    assert digest_of(engine) == digest_of(run(bars, make(), terms=TERMS, tier=tier))


def joined(first: Bars, second: Bars, time: int) -> Bars:
    """The first bars up to a time, the second ones after it."""
    before, after = first.timestamp <= time, second.timestamp > time
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return Bars(
        *(np.concatenate((getattr(first, name)[before], getattr(second, name)[after])) for name in names)
    )


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_seen_ahead_of_time(name: str) -> None:
    """Other bars after t, in prices and in which times have one, change nothing up to t."""
    make, tier = MAKERS[name]
    bars, other = holed(5, count=90), holed(6, count=90)
    times = np.unique(np.concatenate([part.timestamp for part in bars]))
    for seen in (1, 9, 30, 61, 80):
        time = int(times[seen - 1])
        mixed = [joined(mine, theirs, time) for mine, theirs in zip(bars, other, strict=True)]
        one, two = (
            BacktestingEngine(portfolio(part), make(), initial_cash=5000.0, terms=TERMS, tier=tier)
            for part in (bars, mixed)
        )
        one.advance(seen)
        two.advance(seen)
        assert digest_of(one) == digest_of(two)
        assert one.state_dict() == two.state_dict()


@given(seed=st.integers(0, 2**31), terms=st.sampled_from([Terms(), TERMS]))
@settings(max_examples=15, deadline=None)
def test_accounts_add_up_at_every_bar(seed: int, terms: Terms) -> None:
    """Cash is what fills and borrowing leave, equity is cash plus all positions, lots are each position."""
    bars = portfolio(holed(seed % 1000, count=60))
    engine = BacktestingEngine(bars, PortfolioTrader(seed), initial_cash=5000.0, terms=terms)
    while engine.bar_index < engine.total_bars:
        engine.step()
        now, state = engine.bar_index - 1, engine.state_dict()
        spent = sum(Fraction(fill.quantity) * Fraction(fill.price) for fill in engine.fills)
        fees = sum(Fraction(fill.commission) for fill in engine.fills)
        left = float(5000 - spent - fees - Fraction(state["borrow_cost"]))
        assert state["cash"] == pytest.approx(left, abs=1e-6)
        equity = state["cash"]
        for symbol, position in enumerate(state["position"]):
            equity += position * float(bars.close[symbol, now])
            lots = [lot["quantity"] for lot in state["lots"] if lot["symbol"] == symbol]
            assert position == pytest.approx(sum(lots), abs=1e-9)
            assert len({quantity > 0 for quantity in lots}) <= 1
        assert engine.equity[now] == equity == engine.broker.equity
    assert all(fill.commission >= 0 for fill in engine.fills)
    assert state["borrow_cost"] >= 0
    assert all(np.isfinite(engine.equity))
    assert all(trade.max_favourable_excursion >= 0 <= trade.max_adverse_excursion for trade in engine.trades)


class Together:
    """Wants two units of the symbol with the highest close; compiled for all symbols at once."""

    def on_bars(self, bars: Any, broker: Any) -> None:
        closes = [broker.close(name) for name in broker.symbols]
        best = closes.index(max(closes))
        for place, name in enumerate(broker.symbols):
            if closes[place]:
                broker.target(2.0 if place == best else 0.0, symbol=name)

    def compiled_rule(self) -> CompiledRule:
        def signals(start: int, stop: int, *arrays: Any) -> None:
            close, wanted = arrays[4], arrays[-1]
            best = np.argmax(close[:, start:stop], axis=0)
            wanted[:] = np.where(np.arange(len(close))[:, np.newaxis] == best, 2.0, 0.0)

        return CompiledRule(signals, np.empty(0), np.empty(0))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


def test_a_compiled_rule_may_want_positions_of_all_symbols() -> None:
    """Wanted positions as (symbols, bars) trade as the same decisions in Python do."""
    bars = portfolio(holed(9, count=300))
    expected = run(bars, Together(), tier="python")
    assert digest_of(run(bars, Together())) == digest_of(expected)
    assert len({fill.symbol for fill in expected.fills}) == 3


def test_rotation_holds_the_strongest() -> None:
    """After each change the symbol that rose most over its own last bars is held with all the equity, or none."""
    rising = [(float(10 + i),) * 4 for i in range(9)]
    turning = [(price,) * 4 for price in (10.0, 9.0, 8.0, 8.0, 16.0, 32.0, 33.0, 33.0, 33.0)]
    strategy = Rotation(RotationParameters(lookback=2, hold=1, every=3))
    engine = run(portfolio([bars_of(*rising), bars_of(*turning)]), strategy, cash=1000.0)
    first = 1000 / 12
    assert fills_of(engine)[:2] == [(3, 0, pytest.approx(first), 13), (6, 0, pytest.approx(-first), 16)]
    assert (engine.fills[2].symbol, engine.fills[2].bar, engine.fills[2].price) == (1, 6, 33)
    falling = bars_of(*[(float(20 - i),) * 4 for i in range(9)])
    assert run(portfolio([falling]), Rotation(RotationParameters(lookback=2, every=3))).fills == []


def test_bars_and_strategies_that_do_not_fit_are_refused() -> None:
    """A strategy of one symbol with bars of several, the reverse, other symbols and a tier that is not there."""
    one, several = make_bars(5), portfolio([make_bars(5)])
    for bars, strategy in ((several, Script({})), (one, PortfolioScript({}))):
        with pytest.raises(ValueError, match="on_bars needs PortfolioBars"):
            BacktestingEngine(bars, strategy)
    with pytest.raises(ValueError, match="for each of a, not for x"):
        BacktestingEngine(several, EachSymbol({"x": Script({})}))
    with pytest.raises(ValueError, match="no 'wake' for several"):
        BacktestingEngine(several, PortfolioScript({}), tier="wake")


def test_a_state_of_other_symbols_is_refused() -> None:
    """The state of three symbols does not fit an engine of two, nor that of one."""
    bars = holed(2)
    engine = BacktestingEngine(portfolio(bars), PortfolioTrader())
    engine.advance(10)
    state, logs = engine.state_dict(), engine.logs
    for other in (portfolio(bars[:2]), portfolio(bars[:1])):
        with pytest.raises(StateError, match="symbols"):
            BacktestingEngine(other, PortfolioTrader()).load_state_dict(state, logs)


def test_one_symbol_alone_is_a_portfolio_too() -> None:
    """A portfolio of one symbol leaves what the engine of a single one leaves, bit for bit."""
    bars = spaced(make_bars(300, seed=4), 3600 * 10**9)
    one = BacktestingEngine(bars, LIBRARY["sma"](), initial_cash=5000.0, terms=TERMS)
    one.advance()
    for tier in ("compiled", "python"):
        assert digest_of(run(portfolio([bars]), each("sma", 1), terms=TERMS, tier=tier)) == digest_of(one)
