"""What a job refuses: impossible specs, other inputs, damaged checkpoints; and what a fork may change."""

from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.bridge import log_lengths
from milepost_backtester.segments import PREFIX
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.specs.backtest import CHANGEABLE
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.errors import CheckpointDamagedError, FingerprintMismatchError
from milepost_runtime.fingerprints import accepted_differences

from tests.backtester.job_doubles import BARS, FAST_PARAMETERS, Workplace, cancel_after
from tests.support.bridge import host_of

pytestmark = pytest.mark.unit


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


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
