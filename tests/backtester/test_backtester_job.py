"""The job in the computing child: checkpoints, cancellation, failure, resume."""

from pathlib import Path

import pytest
from milepost_backtester.bridge import log_lengths
from milepost_backtester.segments import PREFIX, SEGMENTS_MAX, segment_name
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.checkpoints.data import LoadedCheckpoint

from tests.backtester.job_doubles import (
    BARS,
    DATA_FILES,
    EVERY_TEN_THOUSAND,
    FAST_PARAMETERS,
    Workplace,
    cancel_after,
)
from tests.support.bridge import host_of

pytestmark = pytest.mark.unit


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


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
