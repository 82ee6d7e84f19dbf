"""Backtests of several symbols as jobs: checkpoints, resumes, results, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.results import RESULT_FILES
from milepost_backtester.worker import BacktestKind
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.digests import digest_of_file
from milepost_runtime.errors import FingerprintMismatchError
from milepost_runtime.fingerprints import accepted_differences
from milepost_runtime.worker.kind import JobContext
from pydantic import ValidationError

from tests.backtester.job_doubles import cancel_after
from tests.backtester.portfolio_doubles import FOUR_HOURS, holed, some_rows, spaced
from tests.support.bars import make_bars
from tests.support.bridge import SpoolSink, host_of

pytestmark = pytest.mark.unit

BARS = 1_600
TERMS = {"slippage_random_rate": 0.001, "slippage_seed": 3, "borrow_rate": 0.05, "leverage_max": 3.0}
STRATEGIES: dict[str, dict[str, Any]] = {
    "sma-cross": {"fast": 3, "slow": 8, "allow_short": True},
    "rotation": {"lookback": 10, "hold": 2, "every": 7},
    "bracketer": {"every": 5},
}
NAMES = ("one", "two", "three")


class Portfolio:
    """Makes jobs over three datasets with holes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = [self.write(name, bars) for name, bars in zip(NAMES, holed(1, BARS), strict=True)]
        self.references = [
            {"name": name, "digest": digest_of_file(path)}
            for name, path in zip(NAMES, self.paths, strict=True)
        ]
        self.inputs = {each["digest"]: path for each, path in zip(self.references, self.paths, strict=True)}
        self._count = 0

    def write(self, name: str, bars: Bars) -> Path:
        path = self.directory / f"{name}.parquet"
        write_table({column: getattr(bars, column) for column in SCHEMA.names}, SCHEMA, path)
        return path

    def job(self, strategy: str = "sma-cross", **spec: Any) -> Any:
        content = {
            "data": self.references,
            "strategy": {"name": strategy, "parameters": STRATEGIES[strategy]},
            "terms": TERMS,
            **spec,
        }
        return BacktestKind().create_job(JobContext("op-1", content, self.inputs, self.directory))

    def new(self, name: str) -> Path:
        self._count += 1
        path = self.directory / f"{name}-{self._count}"
        path.mkdir()
        return path

    def sink(self) -> SpoolSink:
        return SpoolSink(self.new("sink"))

    def digests(self, job: Any) -> dict[str, str]:
        directory = self.new("results")
        job.write_results(directory)
        return {name: digest_of_file(directory / name) for name in RESULT_FILES}


@pytest.fixture
def place(tmp_path: Path) -> Portfolio:
    return Portfolio(tmp_path)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_cancelled_and_resumed_ends_as_undisturbed(place: Portfolio, strategy: str) -> None:
    """Cancelled twice, with orders waiting and checkpoints between, three symbols leave the same files."""
    whole = place.job(strategy)
    assert whole.run(host_of(place.sink(), BARS)) is True
    expected = place.digests(whole)
    checkpoint, policy = None, CheckpointPolicySpec(every_units=400, min_seconds=0)
    for unit in (611, 1_245, None):
        job, sink = place.job(strategy), place.sink()
        if checkpoint is not None:
            job.restore_from_checkpoint(checkpoint)
            for path in checkpoint.directory.parent.glob("store/*"):
                (sink._store / path.name).write_bytes(path.read_bytes())
        token = None if unit is None else cancel_after(unit)
        assert job.run(host_of(sink, BARS, policy=policy, token=token)) is (unit is None)
        checkpoint = sink.checkpoints[-1] if unit is not None else None
        if checkpoint is not None and strategy == "bracketer":
            symbols = {order["symbol"] for order in checkpoint.state()["waiting"]}
            assert len(symbols) > 1, "orders of several symbols should wait across the cut"
    assert place.digests(job) == expected


def test_rows_beyond_the_state_are_cut(place: Portfolio) -> None:
    """Segments that hold more rows than the state says are read up to it, and the run ends the same."""
    sink, job = place.sink(), place.job()
    job.run(host_of(sink, BARS, policy=CheckpointPolicySpec(every_units=500, min_seconds=0)))
    short, long = sink.checkpoints[:2]
    segments = tuple(reference for reference in long.artifacts if reference.name != "state.json")
    for reference in segments:
        (short.directory / reference.name).write_bytes((long.directory / reference.name).read_bytes())
    resumed = place.job()
    resumed.restore_from_checkpoint(
        LoadedCheckpoint(short.unit, short.directory, segments, short.fingerprint)
    )
    assert resumed.run(host_of(place.sink(), BARS)) is True
    assert place.digests(resumed) == place.digests(job)


def test_results_tell_of_each_symbol(place: Portfolio) -> None:
    """Fills and trades name their symbol, each has its position, and profits add up to the equity's change."""
    job = place.job()
    sink = place.sink()
    job.run(host_of(sink, BARS))
    directory = place.new("out")
    summary = job.write_results(directory).summary
    statistics = json.loads((directory / "statistics.json").read_bytes())
    symbols = statistics.pop("symbols")
    assert statistics == summary
    assert set(symbols) == set(NAMES)
    equity = pq.read_table(directory / "equity.parquet")
    positions = [f"position_{name}" for name in NAMES]
    assert equity.column_names == ["timestamp", "equity", "cash", *positions]
    for log in ("fills", "trades"):
        table = pq.read_table(directory / f"{log}.parquet")
        assert set(table["symbol"].to_pylist()) == set(NAMES)
        for name in NAMES:
            assert symbols[name][log] == table["symbol"].to_pylist().count(name)
    gain = sum(part["profit"] for part in symbols.values()) - job._engine.outcome.borrow_cost
    assert gain == pytest.approx(statistics["final_equity"] - statistics["initial_cash"])
    assert statistics["open_position"] is None
    assert "do not add up" in statistics["undefined"]["open_position"]
    assert sink.reported[-1][1].keys() == {"equity", "symbols_held", "trades"}


def test_the_benchmark_holds_each_symbol_alike(place: Portfolio) -> None:
    """Equal shares at the start; the share of a symbol that begins later waits as cash."""
    job = place.job()
    job.run(host_of(place.sink(), BARS))
    summary = job.write_results(place.new("out")).summary
    returns = [float(bars.close[-1] / bars.close[0]) - 1 for bars in holed(1, BARS)]
    assert summary["benchmark_return"] == pytest.approx(float(np.mean(returns)))


def test_a_checkpoint_of_other_symbols_is_refused_by_name(place: Portfolio) -> None:
    """Another order of symbols, or other bars of one, is named and not accepted."""
    fingerprint = place.job().fingerprint
    turned = place.job(data=place.references[::-1]).fingerprint
    with pytest.raises(FingerprintMismatchError, match="symbols was 'one two three'"):
        accepted_differences(fingerprint, turned, accept_environment=True)
    other = {**fingerprint, "data.two": "sha256:0"}
    with pytest.raises(FingerprintMismatchError, match=r"data\.two"):
        accepted_differences(fingerprint, other, accept_environment=True)


def test_every_unusable_dataset_is_named(place: Portfolio) -> None:
    """A dataset that is not there and one that is no bars are both in the message, by name."""
    place.paths[1].write_bytes(b"no bars")
    references = [*place.references, {"name": "gone"}]
    with pytest.raises(ValueError, match=r"two: .*not a Parquet file.*the bars of gone are not among"):
        place.job(data=references)


def test_symbols_without_common_time_are_refused(place: Portfolio) -> None:
    """A symbol that begins after all others have ended is named."""
    far = place.write("far", some_rows(spaced(make_bars(BARS + 50), FOUR_HOURS), slice(BARS + 1, None)))
    reference = {"name": "far", "digest": digest_of_file(far)}
    place.inputs[reference["digest"]] = far
    with pytest.raises(ValueError, match=r"spec\.data: .*far begins at .*no time in common"):
        place.job(data=[*place.references, reference])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "at least 1 item"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "given more than once: a"),
        (
            [{"name": name, "digest": "sha256:" + "0" * 64} for name in "ab"],
            "the same bars more than once: a, b",
        ),
        ([{"name": f"s{number}"} for number in range(129)], "at most 128 items"),
        ([{"name": "a"}, {}], "name or its digest"),
    ],
)
def test_impossible_lists_of_data_are_refused(data: list[Any], words: str) -> None:
    """No dataset, one twice by name or by bytes, too many, and one without a name are refused in words."""
    with pytest.raises(ValidationError, match=words):
        BacktestSpec.model_validate({"data": data})


def test_one_dataset_is_what_it_was() -> None:
    """A single reference stays valid and stays single."""
    spec = BacktestSpec.model_validate({"data": {"name": "aapl"}})
    assert spec.model_dump(mode="json")["data"] == {"name": "aapl", "digest": None}
    assert [each.name for each in spec.datasets] == ["aapl"]


def test_a_strategy_of_several_symbols_takes_one_too(place: Portfolio) -> None:
    """With a single reference a strategy with on_bars trades a portfolio of one."""
    job = place.job("rotation", data=place.references[0])
    assert job.run(host_of(place.sink(), BARS)) is True
    assert len(job._engine.fills) > 10
    assert job._engine.symbols == ("one",)
