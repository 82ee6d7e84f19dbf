"""Walk-forward: chosen on one window, traded on the next, without a look at what comes later."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.terms import Terms
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.plan import Fold, Plan, folds_of
from milepost_contracts.specs.sweep import WalkForwardSpec

from tests.backtester.backtest_doubles import Trader
from tests.backtester.sweep_doubles import (
    WALK,
    Workplace,
    content_of,
    engine_of,
    finished,
    parameters_of,
    sma,
    trials_of,
)
from tests.support.bars import make_bars
from tests.support.bridge import host_of

pytestmark = pytest.mark.unit

BARS = make_bars(1_200, 3)
TERMS = Terms(commission_rate=0.001, spread=0.02)


COUNT = 2
"""Combinations."""


def walk_of(**fields: Any) -> tuple[Fold, ...]:
    return folds_of(WalkForwardSpec.model_validate({**WALK, **fields}), len(BARS))


def walked(
    bars: Bars, folds: tuple[Fold, ...], make: Any = sma, tier: Any = "compiled", **options: Any
) -> SweepEngine:
    plan = Plan(parameters_of(COUNT), folds, walks=True)
    return finished(engine_of(trials_of(bars, make, tier=tier, terms=TERMS, **options), plan))


def trader(parameters: Mapping[str, Any], bars: Any = None) -> Trader:
    return Trader(seed=parameters["fast"], every=2)


def shaken(bars: Bars, start: int, stop: int | None = None) -> Bars:
    """Other prices from a bar on, up to another one."""
    factor = np.ones(len(bars))
    factor[start:stop] = 1.5 + 0.3 * np.sin(np.arange(len(bars))[start:stop])
    columns = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    return replace(bars, **columns)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [(0, 600, 600, 800), (200, 800, 800, 1_000), (400, 1_000, 1_000, 1_200)]),
        ({"anchored": True}, [(0, 600, 600, 800), (0, 800, 800, 1_000), (0, 1_000, 1_000, 1_200)]),
        ({"purge_bars": 30}, [(0, 600, 630, 830), (200, 800, 830, 1_030), (400, 1_000, 1_030, 1_200)]),
        ({"step_bars": 500}, [(0, 600, 600, 800), (500, 1_100, 1_100, 1_200)]),
        ({"train_bars": None, "train_share": 0.75}, [(0, 900, 900, 1_100), (200, 1_100, 1_100, 1_200)]),
        ({"train_bars": None, "test_bars": 400}, [(0, 600, 600, 1_000), (400, 1_000, 1_000, 1_200)]),
    ],
)  # fmt: skip
def test_folds(fields: dict[str, Any], expected: list[tuple[int, int, int, int]]) -> None:
    """Rolling or anchored, with a gap or without: windows are where the spec says, the last one may be short."""
    assert walk_of(**fields) == tuple(Fold(*numbers) for numbers in expected)


@pytest.mark.parametrize(
    ("make", "tier", "purge"),
    [(sma, "compiled", 0), (sma, "compiled", 25), (sma, "python", 0), (trader, "python", 25)],
)
def test_nothing_is_seen_ahead_of_time(make: Any, tier: Any, purge: int) -> None:
    """Other prices after a fold's training change neither its figures nor its choice; after its test, nothing."""
    folds = walk_of(purge_bars=purge)
    engine = walked(BARS, folds, make, tier)
    for place, fold in enumerate(folds):
        later = walked(shaken(BARS, fold.train_stop), folds, make, tier)
        rows = (place + 1) * COUNT
        assert repr([later.combinations.statistics(row) for row in range(rows)]) == repr(
            [engine.combinations.statistics(row) for row in range(rows)]
        )
        assert later.forward.chosen[: place + 1] == engine.forward.chosen[: place + 1]
        assert later.forward.logs.equity.tolist() != engine.forward.logs.equity.tolist()
        after = walked(shaken(BARS, fold.test_stop), folds, make, tier).forward
        end = after.bars_of(place + 1)
        assert after.logs.equity[:end].tolist() == engine.forward.logs.equity[:end].tolist()


def test_every_traded_bar_depends_on_earlier_bars_only() -> None:
    """Other prices from a bar inside a test window on change nothing before that bar."""
    folds = walk_of()
    before = walked(BARS, folds, trader, "python").forward.logs.equity
    for place in (77, 200, 450):
        after = walked(shaken(BARS, 600 + place), folds, trader, "python").forward.logs.equity
        assert after[:place].tolist() == before[:place].tolist()


class HeldBack:
    """A strategy that sees every bar and whose orders count from one bar on: what a warmed-up one must equal."""

    def __init__(self, inner: Any, first: int, last: int) -> None:
        self._inner, self._first, self._last = inner, first, last

    def on_bar(self, bar: Any, broker: Any) -> None:
        self._inner.on_bar(bar, broker if bar.index >= self._first else Deaf())
        if bar.index == self._last:
            for order in broker.waiting:
                broker.cancel(order.order_id)
            broker.target(0.0)

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(state)


class Deaf:
    """Takes no orders."""

    position = 0.0

    def target(self, position: float) -> None:
        pass


@pytest.mark.parametrize("tier", ["compiled", "python"])
def test_a_test_window_equals_a_run_that_was_held_back_until_then(tier: Any) -> None:
    """Indicators are warm, the account is fresh, and at the last open everything held is sold."""
    folds = walk_of(purge_bars=10)
    engine = walked(BARS, folds, sma, tier)
    cash = 50_000.0
    for place, fold in enumerate(folds):
        parameters = engine.plan.combinations[engine.forward.chosen[place]]
        window = Bars(*(getattr(BARS, name)[fold.train_start : fold.test_stop] for name in _COLUMNS))
        first = fold.test_start - fold.train_start
        inner = HeldBack(sma(parameters), first, len(window) - 2)
        alone = BacktestingEngine(window, inner, initial_cash=cash, terms=TERMS, tier="python")
        alone.advance()
        part = slice(engine.forward.bars_of(place), engine.forward.bars_of(place + 1))
        assert engine.forward.logs.equity[part].tolist() == alone.equity[first:].tolist()
        assert alone.fills, "nothing was traded"
        assert engine.forward.logs.position[part][-1] == 0
        cash = alone.equity.item(-1)


_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


@pytest.mark.parametrize(("make", "tier"), [(sma, "compiled"), (trader, "python")])
def test_the_joined_account_is_one_account(make: Any, tier: Any) -> None:
    """Equity is cash plus position at every bar, also across folds; all fills together explain the last cash."""
    forward = walked(BARS, walk_of(), make, tier).forward
    logs = forward.logs
    closes = BARS.close[forward.bars]
    np.testing.assert_allclose(logs.equity, logs.cash + logs.position * closes, rtol=1e-12)
    paid = (logs.fills["quantity"] * logs.fills["price"] + logs.fills["commission"]).sum()
    assert logs.cash[-1] == pytest.approx(50_000.0 - paid, rel=1e-12)
    assert logs.trades["pnl"].sum() == pytest.approx(logs.equity[-1] - 50_000.0, rel=1e-9)
    assert logs.fills["quantity"].sum() == pytest.approx(0, abs=1e-9)
    assert set(logs.fills["bar"].tolist()) <= set(forward.bars.tolist())


def test_an_account_that_is_ruined_trades_no_more() -> None:
    """After a fold that loses everything the others stand still, and say why."""
    plan_folds = walk_of()
    prices = {name: getattr(BARS, name).copy() for name in ("open", "high", "low", "close")}
    for column in prices.values():
        column[700:] /= 50.0
    crash = replace(BARS, **prices)
    forward = walked(crash, plan_folds, lambda given, _: Holder(), "python").forward
    assert forward.logs.equity[-1] < 0
    assert len(set(forward.logs.equity[200:].tolist())) == 1
    assert forward.figures.statistics(2)["undefined"]["sharpe"] == "nothing was left to trade with"


class Holder(Trader):
    """Holds ten times what it can pay."""

    def on_bar(self, bar: Any, broker: Any) -> None:
        if broker.position == 0:
            broker.target(5_000.0)


def test_results_of_a_walk(tmp_path: Path) -> None:
    """Folds with figures in and out of sample, the joined account, and its figures."""
    place = Workplace(tmp_path)
    job = place.job(walk_forward=WALK)
    job.run(host_of(place.sink(), job.total_units))
    directory = place.results_directory(job)
    folds = pq.read_table(directory / "folds.parquet").to_pylist()
    assert [(fold["fold"], fold["test_first_bar"], fold["test_last_bar"]) for fold in folds] == [
        (1, 600, 799), (2, 800, 999), (3, 1_000, 1_199),
    ]  # fmt: skip
    rows = pq.read_table(directory / "combinations.parquet").to_pylist()
    for fold in folds:
        (chosen,) = [row for row in rows if row["fold"] == fold["fold"] and row["rank"] == 1]
        assert chosen["combination"] == fold["combination"]
        assert chosen["sharpe"] == fold["in_sample_sharpe"]
        assert chosen["parameter_slow"] == fold["parameter_slow"]
    equity = pq.read_table(directory / "equity.parquet").to_pydict()
    statistics = json.loads((directory / "statistics.json").read_bytes())
    assert len(equity["equity"]) == statistics["bars"] == 600
    assert statistics["final_equity"] == equity["equity"][-1] == folds[-1]["out_of_sample_final_equity"]
    assert statistics["fills"] == len(pq.read_table(directory / "fills.parquet"))


def test_threads_change_nothing_of_a_walk() -> None:
    """Two engines over the same walk leave the same content, whatever their threads."""
    folds = walk_of(anchored=True)
    plan = Plan(parameters_of(), folds, walks=True)
    engines = [finished(engine_of(trials_of(BARS, terms=TERMS), plan, threads=count)) for count in (1, 3)]
    assert content_of(engines[0]) == content_of(engines[1])
