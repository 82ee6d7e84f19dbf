"""Sweeps: each combination is a backtest, bit for bit; stopped anywhere and resumed, the result is the same."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.waking import WakeWhen
from milepost_backtester.statistics import compute_statistics
from milepost_backtester.sweep.engine import CombinationFailedError
from milepost_backtester.sweep.plan import Plan, whole
from milepost_backtester.sweep.trials import StoppedWithinError
from milepost_backtester.sweep.worker import threads_of
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.errors import CheckpointDamagedError, FingerprintMismatchError
from milepost_runtime.fingerprints import accepted_differences

from tests.backtester.backtest_doubles import Trader
from tests.backtester.job_doubles import cancel_after
from tests.backtester.sweep_doubles import (
    COMBINATIONS,
    FOLDS,
    WALK,
    Workplace,
    content_of,
    engine_of,
    finished,
    parameters_of,
    single,
    sma,
    trials_of,
)
from tests.support.bars import make_bars
from tests.support.bridge import ManualClock, host_of

pytestmark = pytest.mark.unit

TERMS = Terms(
    commission_rate=0.001, spread=0.02, slippage_random_rate=0.001, slippage_seed=7, borrow_rate=0.05
)
ROOT = Path(__file__).parents[2]
EVERY = CheckpointPolicySpec(every_units=1, min_seconds=0)


class Seller:
    """Wakes at every seventh bar and turns its position round."""

    def __init__(self, units: float) -> None:
        self._units = units

    def wake_when(self) -> WakeWhen:
        return WakeWhen(every_bars=7, on_change=False)

    def on_bar(self, bar: Any, broker: Any) -> None:
        if (bar.index + 1) % 7 == 0:
            broker.target(-broker.position or self._units)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def trader(parameters: Mapping[str, Any], bars: Any = None) -> Trader:
    return Trader(seed=parameters["fast"], every=2)


def seller(parameters: Mapping[str, Any], bars: Any = None) -> Seller:
    return Seller(float(parameters["fast"]))


def in_words(statistics: dict[str, Any]) -> str:
    """Every bit of the figures; reasons have no order."""
    return repr({**statistics, "undefined": sorted(statistics["undefined"].items())})


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@cache
def undisturbed(walks: bool = False, tier: str = "auto") -> dict[str, str]:
    """Every place has the same bars, so one run says what all must end as."""
    with TemporaryDirectory() as directory:
        place = Workplace(Path(directory))
        job = place.job(walk_forward=WALK if walks else None, tier=tier)
        assert job.run(host_of(place.sink(), job.total_units)) is True
        return place.results(job)


@pytest.mark.parametrize(
    ("make", "tier"),
    [(sma, "compiled"), (sma, "python"), (seller, "wake"), (seller, "python"), (trader, "python")],
)
@pytest.mark.parametrize("cash", [300.0, 50_000.0])
def test_every_combination_equals_a_backtest(make: Callable[..., Any], tier: Any, cash: float) -> None:
    """Whatever the tier, the figures of each combination are those of one backtest, to the last bit."""
    bars = make_bars(900, 5)
    engine = finished(engine_of(trials_of(bars, make, tier=tier, terms=TERMS, initial_cash=cash)))
    for row, parameters in enumerate(parameters_of()):
        alone = single(bars, make(parameters), tier, TERMS, cash)
        expected = compute_statistics(
            alone.curve,
            alone.logs.fills,
            alone.logs.trades,
            initial_cash=cash,
            orders_waiting=len(alone.waiting),
            closes=bars.close,
            outcome=alone.outcome,
        )
        assert expected.fills > 0
        assert in_words(engine.combinations.statistics(row)) == in_words(asdict(expected))


@pytest.mark.parametrize("walk", [None, WALK])
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(place: Workplace, threads: int, walk: Any) -> None:
    """Computed by one thread or by several, the files are the same."""
    job = place.job(threads=threads, walk_forward=walk)
    assert job.run(host_of(place.sink(), job.total_units)) is True
    assert place.results(job) == undisturbed(walk is not None)


@pytest.mark.parametrize(
    ("walk", "unit"),
    [(None, unit) for unit in range(COMBINATIONS)]
    + [(WALK, unit) for unit in range(0, FOLDS * COMBINATIONS, 3)]
    + [(WALK, COMBINATIONS - 1), (WALK, COMBINATIONS)],
)
def test_cancelled_after_any_combination_and_resumed_ends_as_undisturbed(
    place: Workplace, walk: Any, unit: int
) -> None:
    """A sweep that is cancelled after any combination and resumed leaves the same files."""
    job, sink = place.job(walk_forward=walk), place.sink()
    assert job.run(host_of(sink, job.total_units, token=cancel_after(unit))) is False
    assert sink.saved == [(unit, CheckpointReason.CANCELLATION)]

    resumed = place.job(threads=2, walk_forward=walk)
    resumed.restore_from_checkpoint(sink.checkpoints[-1])
    later = place.sink(sink)
    assert resumed.run(host_of(later, resumed.total_units)) is True
    assert later.reported[0][0] == unit + 1
    assert place.results(resumed) == undisturbed(walk is not None)


def test_several_resumes_in_a_row_end_as_undisturbed(place: Workplace) -> None:
    """Cancelled and resumed four times, with a checkpoint after each combination too, the files are the same."""
    checkpoint, sinks = None, []
    for unit in (1, 9, 10, 20, None):
        job, sink = place.job(walk_forward=WALK), place.sink(*sinks)
        if checkpoint is not None:
            job.restore_from_checkpoint(checkpoint)
        token = CancellationToken() if unit is None else cancel_after(unit)
        assert job.run(host_of(sink, job.total_units, token=token, policy=EVERY)) is (unit is None)
        checkpoint = sink.checkpoints[-1]
        sinks.append(sink)
    assert place.results(job) == undisturbed(True)


def test_a_checkpoint_writes_only_new_rows(place: Workplace) -> None:
    """Rows that a stored segment holds are referred to, not written again."""
    job, sink = place.job(), place.sink()
    assert job.run(host_of(sink, job.total_units, policy=EVERY)) is True
    assert sink.new_names[:2] == [
        ["state.json", "logs-000000000000-000000000001.arrows"],
        ["state.json", "logs-000000000001-000000000002.arrows"],
    ]
    assert len(sink.new_names) == COMBINATIONS


class Caller:
    """SMA cross that takes a second for each bar and calls somebody at a bar of one combination."""

    def __init__(self, parameters: Mapping[str, Any], clock: ManualClock, call: Callable[[], None]) -> None:
        self._inner = sma(parameters)
        self._clock = clock
        self._calls = parameters["fast"] == 4
        self._call = call

    def on_bar(self, bar: Any, broker: Any) -> None:
        self._clock.seconds += 1.0
        if self._calls and bar.index == 500:
            self._call()
        self._inner.on_bar(bar, broker)

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(state)


def test_a_stop_is_heard_within_a_combination() -> None:
    """Told to stop in the middle of the third combination the sweep stands at two; going on, it ends the same."""
    bars, clock, asked = make_bars(900, 5), ManualClock(), list[float]()
    trials = trials_of(
        bars,
        lambda given, _: Caller(given, clock, lambda: asked.append(clock.seconds)),
        tier="python",
        clock=clock,
    )
    engine = engine_of(trials)
    with pytest.raises(StoppedWithinError):
        finished(engine, lambda: bool(asked))
    assert engine.state_dict() == {"units": 2, "fills": 0, "trades": 0}
    assert clock.seconds - asked[0] < 3, "heard a bar or two later"
    asked.clear()
    assert content_of(finished(engine)) == content_of(finished(engine_of(trials_of(bars))))


def test_the_job_saves_the_boundary_before_a_combination_that_it_left(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel that comes within a combination is saved at the boundary before it, and resumed from there."""
    token = CancellationToken()
    job, sink = place.job(tier="python"), place.sink()
    step = job._engine.step

    def stopping(stop_asked: Any) -> None:
        if job._engine.unit == 3:
            token.request(StopRequest(CheckpointReason.CANCELLATION))
        step(stop_asked)

    monkeypatch.setattr(job._engine, "step", stopping)
    assert job.run(host_of(sink, job.total_units, token=token)) is False
    assert sink.saved == [(3, CheckpointReason.CANCELLATION)]
    resumed = place.job(tier="python")
    resumed.restore_from_checkpoint(sink.checkpoints[-1])
    assert resumed.run(host_of(place.sink(sink), resumed.total_units)) is True
    assert place.results(resumed) == undisturbed(tier="python")


@pytest.mark.parametrize("exits", [False, True])
def test_a_strategy_that_fails_is_named_with_its_parameters(place: Workplace, exits: bool) -> None:
    """The failure says which combination it was, and the checkpoint is of the combinations before it."""
    grid = {"raise_at": [5_000, 6_000, 700], "exits": [exits]}
    job, sink = place.job(strategy="faulty", grid=grid), place.sink()
    with pytest.raises(CombinationFailedError, match=r"combination 3 of 3.*'raise_at': 700.* at bar 700"):
        job.run(host_of(sink, job.total_units))
    assert sink.saved == [(2, CheckpointReason.FAILURE)]


def test_results_of_a_sweep(place: Workplace) -> None:
    """Every combination is in the table with its rank; the best one is a backtest's spec with equal figures."""
    job = place.job()
    job.run(host_of(place.sink(), job.total_units))
    directory = place.results_directory(job)
    rows = pq.read_table(directory / "combinations.parquet").to_pylist()
    assert [(row["combination"], row["parameter_fast"], row["parameter_slow"]) for row in rows[:3]] == [
        (1, 3, 8), (2, 3, 14), (3, 3, 20),
    ]  # fmt: skip
    by_rank = sorted(rows, key=lambda row: row["rank"])
    sharpes = [row["sharpe"] for row in by_rank]
    assert sharpes == sorted(sharpes, reverse=True)
    best = json.loads((directory / "best.json").read_bytes())
    assert best["combination"] == by_rank[0]["combination"]
    assert best["statistics"]["sharpe"] == sharpes[0]
    spec = BacktestSpec.model_validate_json((directory / "best-spec.json").read_bytes())
    alone = single(
        place.bars, sma(spec.strategy.parameters), "compiled", Terms(commission_rate=0.001), spec.initial_cash
    )
    assert best["statistics"]["final_equity"] == alone.equity[-1]


def test_undefined_figures_are_null_and_rank_last(place: Workplace) -> None:
    """A combination that never trades has no Sharpe ratio: null with its reason, and the last rank."""
    job = place.job(grid={"fast": [5], "slow": [20, 2_000, 30]})
    job.run(host_of(place.sink(), job.total_units))
    rows = pq.read_table(place.results_directory(job) / "combinations.parquet").to_pylist()
    assert [row["sharpe"] is None for row in rows] == [False, True, False]
    assert rows[1]["rank"] == 3
    assert json.loads(rows[1]["undefined"])["sharpe"] == "the returns do not vary"
    assert rows[1]["trades"] == 0


def test_a_damaged_checkpoint_is_refused(place: Workplace) -> None:
    """Missing rows are named."""
    job, sink = place.job(), place.sink()
    job.run(host_of(sink, job.total_units, token=cancel_after(4)))
    checkpoint = sink.checkpoints[-1]
    path = checkpoint.path("state.json")
    path.write_bytes(path.read_bytes().replace(b'"units":4', b'"units":5'))
    with pytest.raises(CheckpointDamagedError, match="combinations: rows from 4 of 5"):
        place.job().restore_from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"grid": {"fast": [3], "slow": [9]}}, "parameters"),
        ({"rank_by": "calmar"}, "rank_by"),
        ({"walk_forward": WALK}, "walk_forward"),
        ({"commission_rate": 0.002}, "commission_rate"),
    ],
)
def test_another_sweep_cannot_go_on(place: Workplace, changed: dict[str, Any], named: str) -> None:
    """A checkpoint of another grid, ranking, walk or account is refused with the difference."""
    with pytest.raises(FingerprintMismatchError, match=named):
        accepted_differences(
            place.job().fingerprint, place.job(**changed).fingerprint, accept_environment=False
        )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"grid": {"fast": [50], "slow": [20]}}, "none of its 1 combinations is possible"),
        ({"strategy": {"name": "nothing"}}, "no strategy 'nothing'"),
        ({"walk_forward": {"train_bars": 1_199, "test_bars": 10}}, "1,200 bars are too few"),
        ({"data": {"name": "gone"}}, "not among the inputs"),
    ],
)
def test_what_cannot_be_swept_is_refused(place: Workplace, changed: dict[str, Any], words: str) -> None:
    """The job says why, as a ValueError that goes to the user."""
    given = dict(changed)
    strategy = given.pop("strategy", None)
    with pytest.raises(ValueError, match=words):
        place.job(**given, **({"strategy": strategy["name"]} if strategy else {}))


def test_a_sweep_of_compiled_rules_needs_no_compiler() -> None:
    """Kernel and figures are loaded from the disk: numba, a hundred megabytes and a second, is not imported."""
    code = (
        "import sys; from tests.backtester.sweep_doubles import *;"
        "finished(engine_of(trials_of(make_bars(500, 5)), threads=2)); print('numba' in sys.modules)"
    )
    run_once = [sys.executable, "-c", code]
    subprocess.run(run_once, cwd=ROOT, check=True, capture_output=True)  # compiled now, if it was not
    done = subprocess.run(run_once, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]


def test_threads_are_a_setting() -> None:
    """A worker's setting limits the threads; nonsense is refused."""
    assert threads_of({}) >= 1
    assert threads_of({"MILEPOST_SWEEP_THREADS": "3"}) == 3
    with pytest.raises(ValueError, match="MILEPOST_SWEEP_THREADS"):
        threads_of({"MILEPOST_SWEEP_THREADS": "many"})


def test_rows_come_in_order_however_threads_finish() -> None:
    """With more threads than combinations the table has every combination once, in order."""
    bars = make_bars(3_000, 2)
    plan = Plan(parameters_of(12), whole(len(bars)), walks=False)
    assert content_of(finished(engine_of(trials_of(bars), plan, threads=16))) == content_of(
        finished(engine_of(trials_of(bars), plan))
    )
