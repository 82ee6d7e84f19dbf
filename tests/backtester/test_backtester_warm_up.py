"""Warm-up: the strategy sees the first bars, nothing is ordered at them, and what is told begins after them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.terms import Terms
from milepost_backtester.results import write_results
from milepost_backtester.run import Run
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_contracts.specs.sweep import SweepSpec
from pydantic import ValidationError

from tests.backtester.acting_doubles import ActingTrader, Risk
from tests.backtester.backtest_doubles import Trader, digest_of, through_json
from tests.backtester.job_doubles import Workplace
from tests.backtester.test_backtester_tiers import LIBRARY, Sleeper
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

TERMS = Terms(commission_rate=0.001, spread=0.01, leverage_max=2.0, maintenance_margin=0.3, borrow_rate=0.1)
STRATEGIES: dict[str, Callable[[], Any]] = {
    **LIBRARY,
    "all kinds of orders": lambda: ActingTrader(3),
    "by the equity": lambda: Risk(0.7),
}


class Mute:
    """A broker that takes no orders, apart from that the real one."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def order(self, *_: Any, **__: Any) -> int:
        return 0

    def target(self, _: float) -> int:
        return 0


class Muted:
    """A strategy that is not heard at the first bars."""

    def __init__(self, strategy: Any, bars: int) -> None:
        self._strategy, self._bars = strategy, bars
        self.state_dict, self.load_state_dict = strategy.state_dict, strategy.load_state_dict

    def on_bar(self, bar: Any, broker: Any) -> None:
        self._strategy.on_bar(bar, Mute(broker) if bar.index < self._bars else broker)


def engine_in(tier: Any, strategy: Any, bars: Any, warm_up_bars: int) -> BacktestingEngine:
    return BacktestingEngine(
        bars, strategy, initial_cash=5_000.0, terms=TERMS, tier=tier, warm_up_bars=warm_up_bars
    )


def result_in(tier: Any, strategy: Any, bars: Any, warm_up_bars: int) -> str:
    engine = engine_in(tier, strategy, bars, warm_up_bars)
    engine.advance()
    return digest_of(engine)


@pytest.mark.parametrize("name", STRATEGIES)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 150), share=st.floats(0, 0.99))
@settings(max_examples=8, deadline=None)
def test_every_tier_ends_as_one_that_is_not_heard(name: str, seed: int, count: int, share: float) -> None:
    """Compiled and Python end as a strategy whose orders of the first bars are thrown away by hand."""
    bars, warm_up_bars = make_bars(count, seed, step=0.1), int(share * count)
    expected = result_in("python", Muted(STRATEGIES[name](), warm_up_bars), bars, 0)
    for tier in ("python", "compiled"):
        assert result_in(tier, STRATEGIES[name](), bars, warm_up_bars) == expected


def test_a_waking_strategy_too() -> None:
    """A strategy that sleeps through most of the warm-up ends as one that sees all of it."""
    bars = make_bars(1500, seed=2, step=0.1)
    assert result_in("wake", Sleeper(), bars, 700) == result_in("python", Sleeper(), bars, 700)


def test_several_symbols_too() -> None:
    """Of several symbols bars of the common timeline count, in both tiers, and a trade comes right after."""
    bars = PortfolioBars.of(("a", "b"), [make_bars(120, seed=1), make_bars(120, seed=2)])
    ends = set()
    for tier in ("python", "compiled"):
        engine = engine_in(tier, EachSymbol({"a": LIBRARY["sma"](), "b": LIBRARY["hold"]()}), bars, 50)
        engine.advance()
        assert engine.fills[0].bar == 51
        ends.add(digest_of(engine))
    assert len(ends) == 1


@pytest.mark.parametrize("tier", ["python", "compiled"])
@pytest.mark.parametrize("name", ["sma", "all kinds of orders"])
def test_a_run_cut_after_any_bar_ends_the_same(name: str, tier: Any) -> None:
    """Whether it was cut in the warm-up, at its end or after it."""
    bars = make_bars(60, seed=12, step=0.2)
    expected = result_in(tier, STRATEGIES[name](), bars, 25)
    for cut in range(len(bars) + 1):
        first, second = (engine_in(tier, STRATEGIES[name](), bars, 25) for _ in range(2))
        first.advance(cut)
        second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
        second.advance()
        assert digest_of(second) == expected


def run_of(bars: Bars) -> Run:
    return Run("Trader", ("x",), bars, {"warm_up_bars": 100}, 5_000.0)


def test_results_begin_after_it(tmp_path: Path) -> None:
    """Equity and figures are of the bars after the warm-up; bars of fills are counted from the data's first."""
    bars = make_bars(400, seed=3, step=0.1)
    engine = engine_in("python", Trader(5), bars, 100)
    engine.advance()
    write_results(engine, run_of(bars), tmp_path)
    equity = pq.read_table(tmp_path / "equity.parquet")
    assert equity["timestamp"].cast("int64").to_numpy().tolist() == bars.timestamp[100:].tolist()
    assert equity["equity"][0].as_py() == 5_000
    figures = json.loads((tmp_path / "statistics.json").read_bytes())
    assert figures["bars"] == 300
    assert figures["benchmark_return"] == pytest.approx(bars.close[-1] / bars.close[100] - 1)
    fills = pq.read_table(tmp_path / "fills.parquet")
    assert fills["bar"].to_numpy().min() > 100
    assert fills["time"].cast("int64").to_numpy().tolist() == bars.timestamp[fills["bar"].to_numpy()].tolist()
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_results_are_those_of_the_bars_after_it_alone(tmp_path: Path) -> None:
    """What needs no warm-up has the same figures over the bars after it as without them."""
    bars = make_bars(400, seed=3)
    rest = Bars(*(np.ascontiguousarray(column[100:]) for column in vars_of(bars)))
    found = []
    for part, warm_up_bars in ((bars, 100), (rest, 0)):
        engine = engine_in("python", LIBRARY["hold"](), part, warm_up_bars)
        engine.advance()
        found.append(write_results(engine, run_of(part), tmp_path))
    assert found[0] == found[1]


def vars_of(bars: Bars) -> tuple[Any, ...]:
    return bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume


@pytest.mark.parametrize("warm_up_bars", [-1, 60, 61])
def test_a_warm_up_that_leaves_nothing_is_refused(warm_up_bars: int) -> None:
    """The engine names both numbers."""
    with pytest.raises(ValueError, match=f"warm_up_bars must leave a bar to trade: {warm_up_bars} of 60"):
        engine_in("auto", LIBRARY["sma"](), make_bars(60), warm_up_bars)


def test_a_checkpoint_of_another_warm_up_is_refused(tmp_path: Path) -> None:
    """The number is in the fingerprint, by its name; a spec that leaves no bar to trade makes no job."""
    place = Workplace(tmp_path, bars=50)
    with_it, without = place.job(warm_up_bars=20).fingerprint, place.job().fingerprint
    assert dict(with_it) == {**without, "warm_up_bars": "20"}
    with pytest.raises(ValueError, match=r"spec\.warm_up_bars: 50 of 50 bars leave none to trade"):
        place.job(warm_up_bars=50)


def test_specs_are_checked() -> None:
    """A negative number is refused by field, and a sweep says why it takes none."""
    with pytest.raises(ValidationError, match="warm_up_bars"):
        BacktestSpec.model_validate({"data": {"name": "aapl"}, "warm_up_bars": -1})
    with pytest.raises(ValidationError, match="a sweep takes none"):
        SweepSpec.model_validate({"data": {"name": "aapl"}, "grid": {"fast": [2, 3]}, "warm_up_bars": 5})
