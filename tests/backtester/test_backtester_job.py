"""The job in the computing child: checkpoints, cancellation, failure, resume, results."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from milepost_backtester.bridge import log_lengths
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.report.writing import REPORT_FILES
from milepost_backtester.results import RESULT_FILES
from milepost_backtester.segments import PREFIX, SEGMENTS_MAX, segment_name
from milepost_backtester.worker import BacktestKind
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.specs.backtest import CHANGEABLE, BacktestSpec
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.digests import digest_of_file
from milepost_runtime.errors import CheckpointDamagedError, FingerprintMismatchError
from milepost_runtime.fingerprints import accepted_differences
from milepost_runtime.worker.kind import JobContext

from tests.support.bars import make_bars
from tests.support.bridge import SpoolSink, host_of

pytestmark = pytest.mark.unit

BARS = 15_000
FAST_PARAMETERS = {"fast": 3, "slow": 8, "allow_short": True}
EVERY_TEN_THOUSAND = CheckpointPolicySpec(every_units=10_000, min_seconds=0)
RESULTS = tuple(RESULT_FILES)
DATA_FILES = tuple(name for name in RESULTS if name not in REPORT_FILES)


class Workplace:
    """Makes jobs over one dataset."""

    def __init__(self, directory: Path, bars: int = BARS, seed: int = 1) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.data = directory / "bars.parquet"
        columns = make_bars(bars, seed)
        write_table({name: getattr(columns, name) for name in SCHEMA.names}, SCHEMA, self.data)
        self.digest = digest_of_file(self.data)
        self.bars = bars
        self._sinks = 0
        self._shared: list[SpoolSink] = []

    def job(self, strategy: str = "sma-cross", parameters: dict[str, Any] | None = None, **spec: Any) -> Any:
        content = {
            "data": {"name": "test", "digest": self.digest},
            "strategy": {"name": strategy, "parameters": parameters or FAST_PARAMETERS},
            **spec,
        }
        return BacktestKind().create_job(JobContext("op-1", content, self.inputs(), self.directory))

    def inputs(self) -> dict[str, Path]:
        return {self.digest: self.data}

    def sink(self, **options: bool) -> SpoolSink:
        self._sinks += 1
        sink = SpoolSink(self.directory / f"sink-{self._sinks}", **options)
        for earlier in self._shared:
            sink.take_artifacts(earlier)
        return sink

    def share(self, sink: SpoolSink) -> None:
        """Later sinks have the artifacts of this one, as workers have one store."""
        self._shared.append(sink)

    def digests(self, job: Any) -> dict[str, str]:
        self._sinks += 1
        directory = self.directory / f"results-{self._sinks}"
        directory.mkdir()
        result = job.write_results(directory)
        assert set(result.files) == set(RESULTS)
        return {name: digest_of_file(directory / name) for name in RESULTS}

    def undisturbed(self) -> dict[str, str]:
        job = self.job()
        assert job.run(host_of(self.sink(), self.bars)) is True
        return self.digests(job)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def cancel_after(unit: int) -> CancellationToken:
    """A token that is set exactly for ``unit``."""
    token = CancellationToken()
    token.request(StopRequest(CheckpointReason.CANCELLATION, at_unit=unit))
    return token


def test_checkpoint_at_ten_thousand_of_fifteen_thousand_bars(place: Workplace) -> None:
    """15 000 bars with a checkpoint every 10 000 have exactly one periodic checkpoint, at bar 10 000."""
    sink = place.sink()
    assert place.job().run(host_of(sink, BARS, policy=EVERY_TEN_THOUSAND)) is True
    assert sink.saved == [(10_000, CheckpointReason.PERIODIC)]


@pytest.mark.parametrize("unit", [0, 1, 2, 7, 8, 9, 5_000, 8_191, 8_192, 8_193, 14_999])
def test_cancelled_and_resumed_ends_as_undisturbed(place: Workplace, unit: int) -> None:
    """A run that is cancelled after any bar, also before the first one, and resumed leaves the same four files."""
    sink = place.sink()
    assert place.job().run(host_of(sink, BARS, token=cancel_after(unit))) is False
    assert sink.saved == [(unit, CheckpointReason.CANCELLATION)]

    resumed = place.job()
    resumed.restore_from_checkpoint(sink.checkpoints[-1])
    later = place.sink()
    assert resumed.run(host_of(later, BARS)) is True

    assert later.reported[0][0] > unit
    assert place.digests(resumed) == place.undisturbed()


@pytest.mark.parametrize("reported", [1, 2, 4])
def test_a_cancel_in_the_middle_is_saved_at_the_next_boundary(place: Workplace, reported: int) -> None:
    """A request that comes while bars are computed ends the run at that boundary, with its state saved."""
    sink, token = place.sink(), CancellationToken()

    def cancel(unit: int) -> None:
        if len(sink.reported) == reported:
            token.request(StopRequest(CheckpointReason.SHUTDOWN))

    sink.on_progress = cancel
    assert place.job().run(host_of(sink, BARS, token=token)) is False
    assert sink.saved == [(sink.reported[-1][0], CheckpointReason.SHUTDOWN)]
    assert len(sink.reported) == reported


def test_a_cancel_at_the_last_bar_comes_too_late(place: Workplace) -> None:
    """A stop asked for after the last bar lets the run complete without a checkpoint."""
    sink = place.sink()
    assert place.job().run(host_of(sink, BARS, token=cancel_after(BARS))) is True
    assert sink.saved == []


def test_several_resumes_in_a_row_end_as_undisturbed(place: Workplace) -> None:
    """Cancelled and resumed five times, with periodic checkpoints too, the run leaves the same four files."""
    checkpoint = None
    policy = CheckpointPolicySpec(every_units=700, min_seconds=0)
    for unit in (1, 2_000, 2_001, 9_000, 14_998, None):
        job, sink = place.job(), place.sink()
        if checkpoint is not None:
            job.restore_from_checkpoint(checkpoint)
        token = None if unit is None else cancel_after(unit)
        assert job.run(host_of(sink, BARS, policy=policy, token=token)) is (unit is None)
        # Artifacts of earlier runs are in the store that all of them share.
        place.share(sink)
        checkpoint = sink.checkpoints[-1] if unit is not None else None
    assert place.digests(job) == place.undisturbed()


def test_every_periodic_checkpoint_can_be_gone_on_from(place: Workplace) -> None:
    """Each of many checkpoints, also those after segments were merged, leads to the same four files."""
    sink = place.sink()
    job = place.job()
    policy = CheckpointPolicySpec(every_units=600, min_seconds=0)
    assert job.run(host_of(sink, BARS, policy=policy)) is True
    expected = place.digests(job)
    assert len(sink.checkpoints) == BARS // 600
    for checkpoint in sink.checkpoints[::3]:
        resumed = place.job()
        resumed.restore_from_checkpoint(checkpoint)
        assert resumed.run(host_of(place.sink(), BARS)) is True
        assert place.digests(resumed) == expected


def test_a_checkpoint_writes_only_new_rows(place: Workplace) -> None:
    """Each checkpoint has one new segment and keeps the others, until sixteen equal ones are written as one."""
    sink = place.sink()
    policy = CheckpointPolicySpec(every_units=600, min_seconds=0)
    place.job().run(host_of(sink, BARS, policy=policy))
    at = [(0, 0, 0), *(tuple(log_lengths(checkpoint.state()).values()) for checkpoint in sink.checkpoints)]
    for place_in_chain, names in enumerate(sink.new_names):
        begins = 0 if place_in_chain == SEGMENTS_MAX else place_in_chain
        assert names == ["state.json", segment_name(at[begins], at[place_in_chain + 1])]
    counts = [len(checkpoint.references(PREFIX)) for checkpoint in sink.checkpoints]
    assert counts == [*range(1, SEGMENTS_MAX + 1), *range(1, 10)]


def test_a_checkpoint_does_not_wait_for_the_one_before(place: Workplace) -> None:
    """Checkpoints built before any segment is written hold all rows themselves; each can be gone on from."""
    sink = place.sink(at_once=False)
    job = place.job()
    job.run(host_of(sink, BARS, policy=CheckpointPolicySpec(every_units=4_000, min_seconds=0)))
    sink.write()
    stops = [tuple(log_lengths(checkpoint.state()).values()) for checkpoint in sink.checkpoints]
    assert [stop[0] for stop in stops] == [4_000, 8_000, 12_000]
    assert sink.new_names == [["state.json", segment_name((0, 0, 0), stop)] for stop in stops]
    expected = place.digests(job)
    for checkpoint in sink.checkpoints:
        resumed = place.job()
        resumed.restore_from_checkpoint(checkpoint)
        resumed.run(host_of(place.sink(), BARS))
        assert place.digests(resumed) == expected


def test_a_manual_checkpoint_goes_on_computing(place: Workplace) -> None:
    """A checkpoint asked for is saved with that reason, and the run completes."""
    sink = place.sink()
    sink.manual_requests = 1
    assert place.job().run(host_of(sink, BARS)) is True
    assert sink.saved == [(0, CheckpointReason.MANUAL)]


@pytest.mark.parametrize("bar", [0, 1, 2, 5_000, 8_192, 14_999])
def test_a_failure_is_saved_at_the_last_good_bar(place: Workplace, bar: int) -> None:
    """When the strategy raises, its error goes up and the failure checkpoint is of the bar before."""
    sink = place.sink()
    job = place.job("faulty", {**FAST_PARAMETERS, "raise_at": bar})
    with pytest.raises(RuntimeError, match=f"wrong line reached at bar {bar}"):
        job.run(host_of(sink, BARS))
    assert sink.saved == [(bar, CheckpointReason.FAILURE)]
    checkpoint = sink.checkpoints[-1]
    assert checkpoint.state()["bar_index"] == bar

    # The same strategy under its right name is the one whose line is mended.
    mended = place.job("faulty", {**FAST_PARAMETERS, "raise_at": BARS})
    mended.fingerprint = dict(checkpoint.fingerprint)
    mended.restore_from_checkpoint(checkpoint)
    assert mended.run(host_of(place.sink(), BARS)) is True
    expected = place.undisturbed()
    found = place.digests(mended)
    # The report names the strategy, and the faulty one has a name of its own.
    assert [found[name] for name in DATA_FILES] == [expected[name] for name in DATA_FILES]


@pytest.mark.parametrize("bar", [0, 1, 5_000])
def test_a_strategy_that_exits_is_a_failure_like_another(place: Workplace, bar: int) -> None:
    """When the strategy calls sys.exit, that goes up and the failure checkpoint is of the bar before."""
    sink = place.sink()
    job = place.job("faulty", {**FAST_PARAMETERS, "raise_at": bar, "exits": True})
    with pytest.raises(SystemExit, match=f"enough at bar {bar}"):
        job.run(host_of(sink, BARS))
    assert sink.saved == [(bar, CheckpointReason.FAILURE)]
    assert sink.checkpoints[-1].state()["bar_index"] == bar


def test_a_checkpoint_of_something_else_is_refused_with_every_difference(place: Workplace) -> None:
    """Other data, parameters and account are each named, and none of them can be accepted."""
    sink = place.sink()
    place.job().run(host_of(sink, BARS, token=cancel_after(5_000)))
    other = Workplace(place.directory / "other", seed=2)
    job = other.job(parameters={**FAST_PARAMETERS, "fast": 4}, initial_cash=5.0)
    with pytest.raises(FingerprintMismatchError) as refusal:
        accepted_differences(sink.checkpoints[-1].fingerprint, job.fingerprint, accept_environment=True)
    assert [part.split(" ")[0] for part in refusal.value.detail.split("; ")] == [
        "data",
        "initial_cash",
        "parameters",
    ]
    assert "initial_cash was '100000.0' and is '5.0'" in refusal.value.detail


@pytest.mark.parametrize("segment", [0, 1])
def test_missing_rows_are_named(place: Workplace, segment: int) -> None:
    """A checkpoint without one of its segments is damaged, and each log is named with the rows it lacks."""
    sink = place.sink()
    policy = CheckpointPolicySpec(every_units=3_000, min_seconds=0)
    place.job().run(host_of(sink, BARS, policy=policy, token=cancel_after(5_000)))
    first, whole = sink.checkpoints
    lost = whole.references(PREFIX)[segment].name
    kept = tuple(reference for reference in whole.artifacts if reference.name != lost)
    torn = LoadedCheckpoint(whole.unit, whole.directory, kept, whole.fingerprint)
    with pytest.raises(CheckpointDamagedError) as refusal:
        place.job().restore_from_checkpoint(torn)
    have = log_lengths(first.state()) if segment else dict.fromkeys(("account", "fills", "trades"), 0)
    assert [(problem.field, problem.message) for problem in refusal.value.problems] == [
        (log, f"rows from {have[log]} of {length} are in no segment")
        for log, length in log_lengths(whole.state()).items()
    ]


def test_rows_beyond_the_state_are_cut(place: Workplace) -> None:
    """The lengths in the state rule: longer segments are read up to them, and the run ends the same."""
    sink = place.sink()
    job = place.job()
    job.run(host_of(sink, BARS, policy=CheckpointPolicySpec(every_units=5_000, min_seconds=0)))
    short, long, _ = sink.checkpoints
    segments = tuple(reference for reference in long.artifacts if reference.name != "state.json")
    mixed = LoadedCheckpoint(short.unit, short.directory, segments, short.fingerprint)
    for reference in segments:
        (short.directory / reference.name).write_bytes((long.directory / reference.name).read_bytes())
    resumed = place.job()
    resumed.restore_from_checkpoint(mixed)
    assert resumed.run(host_of(place.sink(), BARS)) is True
    assert place.digests(resumed) == place.digests(job)


BAD_SPECS = {
    "unknown strategy": (
        {"strategy": "astrology"},
        ["strategy.name: no strategy 'astrology'", "there are: "],
    ),
    "two wrong parameters": (
        {"parameters": {"fast": 0, "slow": "many"}},
        ["strategy.parameters.fast", "strategy.parameters.slow"],
    ),
    "fast not faster": ({"parameters": {"fast": 9, "slow": 9}}, ["fast (9) must be smaller than slow (9)"]),
    "misspelt parameter": ({"parameters": {"fats": 9}}, ["strategy.parameters.fats"]),
    "impossible account": (
        {"initial_cash": 0, "commission_rate": 1},
        ["spec.initial_cash", "spec.commission_rate"],
    ),
    "unpinned data": ({"data": {"name": "aapl"}}, ["the bars of aapl are not among the inputs"]),
}


@pytest.mark.parametrize("kind", BAD_SPECS)
def test_a_bad_spec_is_refused_with_every_problem(place: Workplace, kind: str) -> None:
    """Whatever is wrong with a spec is in the message, all of it."""
    options, words = BAD_SPECS[kind]
    with pytest.raises(ValueError, match=r"\w") as refusal:
        place.job(**options)
    for word in words:
        assert word in str(refusal.value)


def test_bad_bars_are_no_job(place: Workplace) -> None:
    """Input that is no canonical Parquet is refused in words."""
    place.data.write_bytes(b"no bars")
    with pytest.raises(ValueError, match="not a Parquet file"):
        place.job()


def test_results_can_be_read(place: Workplace) -> None:
    """The files hold what the summary says."""
    job = place.job()
    job.run(host_of(place.sink(), BARS))
    directory = place.directory / "out"
    directory.mkdir()
    summary = job.write_results(directory).summary
    equity = pq.read_table(directory / "equity.parquet")
    trades = pq.read_table(directory / "trades.parquet")
    assert json.loads((directory / "statistics.json").read_bytes()) == summary
    assert equity.num_rows == summary["bars"] == BARS
    assert equity.schema.names == ["timestamp", "equity", "cash", "position"]
    assert equity["equity"][-1].as_py() == summary["final_equity"]
    assert trades.num_rows == summary["trades"] > 100
    assert pq.read_table(directory / "fills.parquet").num_rows == summary["fills"]
    entered, left = trades["entry_time"].to_pylist(), trades["exit_time"].to_pylist()
    assert all(entry < exit_ for entry, exit_ in zip(entered, left, strict=True))


def test_progress_tells_equity_position_and_trades(place: Workplace) -> None:
    """Each report has the three figures, the last one of the last bar."""
    sink = place.sink()
    place.job().run(host_of(sink, BARS))
    unit, metrics = sink.reported[-1]
    assert unit == BARS
    assert set(metrics) == {"equity", "position", "trades"}


def test_the_kind_is_described_without_heavy_imports() -> None:
    """A host that only announces the kind loads no pandas, torch, numpy or pyarrow."""
    code = (
        "import sys, json\n"
        "from milepost_runtime.worker.kinds import load_kind\n"
        "kind = load_kind('backtest').describe()\n"
        "heavy = [n for n in ('pandas', 'torch', 'numpy', 'pyarrow', 'numba') if n in sys.modules]\n"
        "print(json.dumps([heavy, kind.model_dump(mode='json')]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy, kind = json.loads(output)
    assert heavy == []
    assert kind["dataset_fields"] == ["data"]
    assert kind["unit_name"] == "bar"
    assert set(kind["parts"]["strategy"]["sma-cross"]["properties"]) == {
        "fast",
        "slow",
        "allow_short",
        "sizing",
        "quantity",
        "tolerance",
        "range_bars",
    }
    assert BacktestSpec.model_validate(kind["example"]).strategy.name == "sma-cross"


@pytest.mark.parametrize("field", [*CHANGEABLE])
def test_a_fork_may_change_a_cost_and_nothing_before_the_checkpoint_moves(
    place: Workplace, field: str
) -> None:
    """Each changeable field: only the named entries of the fingerprint differ; the equity so far is the same."""
    values = {"leverage_max": 3.0, "slippage_seed": 7, "maintenance_margin": 0.1}
    name = field.rpartition(".")[2]
    changed: dict[str, Any] = {name: values.get(name, 0.01)}
    changed = changed if field == name else {"terms": changed}
    sink = place.sink()
    assert place.job().run(host_of(sink, BARS, token=cancel_after(5_000))) is False
    checkpoint = sink.checkpoints[-1]
    fork = place.job(**changed)
    differing = {
        entry
        for entry in fork.fingerprint.keys() | checkpoint.fingerprint.keys()
        if fork.fingerprint.get(entry) != checkpoint.fingerprint.get(entry)
    }
    assert differing == set(CHANGEABLE[field])
    with pytest.raises(FingerprintMismatchError):
        accepted_differences(checkpoint.fingerprint, fork.fingerprint, accept_environment=True)
    accepted_differences(
        checkpoint.fingerprint,
        fork.fingerprint,
        accept_environment=False,
        changed_entries=CHANGEABLE[field],
    )
    fork.restore_from_checkpoint(checkpoint)
    assert fork.run(host_of(place.sink(), BARS)) is True
    plain = place.job()
    assert plain.run(host_of(place.sink(), BARS)) is True
    assert fork._engine.logs.equity.tolist()[:5_000] == plain._engine.logs.equity.tolist()[:5_000]


class LateToken(CancellationToken):
    """A token whose stop comes while bars are computed: when somebody looks for one for the n-th time."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def due(self, unit: int) -> StopRequest | None:
        self._times -= 1
        if self._times == 0:
            self.request(StopRequest(CheckpointReason.CANCELLATION))
        return super().due(unit)


@pytest.mark.parametrize(("times", "bar"), [(8, 173), (11, 473), (20, 1_185)])
def test_a_stop_is_seen_between_two_boundaries(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, times: int, bar: int
) -> None:
    """A stop that comes between two boundaries is saved at the next piece, and resumed ends as undisturbed."""
    monkeypatch.setattr("milepost_backtester.job.PIECE_BARS", 100)
    sink, token = place.sink(), LateToken(times)
    assert place.job().run(host_of(sink, BARS, token=token)) is False
    assert sink.saved == [(bar, CheckpointReason.CANCELLATION)]
    resumed = place.job()
    resumed.restore_from_checkpoint(sink.checkpoints[-1])
    assert resumed.run(host_of(place.sink(), BARS)) is True
    assert place.digests(resumed) == place.undisturbed()
