"""What the bridge does at unit boundaries: cache, ask the policy, save, stop."""

import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.checkpoints.data import CheckpointData

from tests.runtime_checkpoints.bridge_doubles import (
    CANCELLATION,
    FAILURE,
    MANUAL,
    PERIODIC,
    SHUTDOWN,
    Rig,
)

pytestmark = pytest.mark.unit

TENS = CheckpointPolicySpec(every_units=10, min_seconds=0)
EVERY = CheckpointPolicySpec(every_units=1, min_seconds=0)


def test_run_without_anything():
    """With the default policy nothing is saved, everything is reported, and the run is done."""
    rig = Rig(total_units=20, seconds_per_unit=1)
    assert rig.run() is True
    assert rig.sink.saved == []
    assert rig.sink.reported == [(unit, {"sum": float(unit)}) for unit in range(1, 21)]
    assert rig.bridge.unit == 20
    assert rig.bridge.stopped is None


def test_periodic_checkpoints_hold_the_state_of_their_unit():
    """Every tenth unit is saved with exactly its state."""
    rig = Rig(TENS, total_units=35, seconds_per_unit=1)
    rig.run()
    assert rig.sink.saved == [(10, PERIODIC), (20, PERIODIC), (30, PERIODIC)]
    assert rig.sink.states == [100, 200, 300]


def test_fifteen_epochs_with_one_every_ten():
    """Training 15 epochs with a checkpoint every 10 has one at epoch 10."""
    rig = Rig(CheckpointPolicySpec(every_units=10), total_units=15, seconds_per_unit=30)
    rig.run()
    assert rig.sink.saved == [(10, PERIODIC)]


def test_fifteen_thousand_bars_with_one_every_ten_thousand():
    """A quick backtest of 15 000 bars with a checkpoint every 10 000 has one exactly at bar 10 000."""
    rig = Rig(CheckpointPolicySpec(every_units=10_000), total_units=15_000, seconds_per_unit=1e-6)
    rig.run()
    assert rig.sink.saved == [(10_000, PERIODIC)]


def test_by_time():
    """A checkpoint is saved at the first boundary after the interval, counted from the last save."""
    rig = Rig(CheckpointPolicySpec(every_seconds=5), total_units=12, seconds_per_unit=2)
    rig.run()
    assert rig.sink.saved == [(3, PERIODIC), (6, PERIODIC), (9, PERIODIC), (12, PERIODIC)]


def test_floor_holds_periodic_checkpoints_apart():
    """Fast units do not do nothing but save."""
    rig = Rig(CheckpointPolicySpec(every_units=1, min_seconds=3), total_units=10, seconds_per_unit=1)
    rig.run()
    assert [unit for unit, _ in rig.sink.saved] == [1, 4, 7, 10]


def test_periodic_is_left_out_while_the_last_one_is_written():
    """A periodic checkpoint that comes due while the sink is busy is made up for at a later boundary."""
    rig = Rig(TENS, total_units=40, seconds_per_unit=1)

    def busy_between_9_and_12(unit: int) -> None:
        rig.sink.is_busy = 9 <= unit <= 12

    rig.on_boundary = busy_between_9_and_12
    rig.run()
    assert rig.sink.saved == [(13, PERIODIC), (20, PERIODIC), (30, PERIODIC), (40, PERIODIC)]


@pytest.mark.parametrize("reason", [CANCELLATION, SHUTDOWN, MANUAL])
def test_urgent_checkpoints_are_never_left_out(reason):
    """Cancellation, shutdown and manual are saved although the sink is busy."""
    rig = Rig(TENS, total_units=40, seconds_per_unit=1)
    rig.sink.is_busy = True

    def at_five(unit: int) -> None:
        if unit == 5 and reason is MANUAL:
            rig.sink.manual_requests = 1
        elif unit == 5:
            rig.stop(reason)

    rig.on_boundary = at_five
    rig.run()
    assert rig.sink.saved == [(5, reason)]


def test_manual_checkpoint_each_time_it_is_asked_for():
    """Each request is one checkpoint, also twice within one unit and before the first."""
    rig = Rig(total_units=10, seconds_per_unit=1)
    rig.sink.manual_requests = 1

    def at_four(unit: int) -> None:
        if unit in (4, 10):
            rig.sink.manual_requests = 1

    rig.on_boundary = at_four
    assert rig.run() is True
    assert rig.sink.saved == [(0, MANUAL), (4, MANUAL), (10, MANUAL)]


def test_manual_counts_as_the_periodic_one_of_its_unit():
    """The state of one unit is not saved as periodic when it has just been saved on request."""
    rig = Rig(TENS, total_units=20, seconds_per_unit=1)

    def at_ten(unit: int) -> None:
        if unit == 10:
            rig.sink.manual_requests = 1

    rig.on_boundary = at_ten
    rig.run()
    assert rig.sink.saved == [(10, MANUAL), (20, PERIODIC)]


@pytest.mark.parametrize("reason", [CANCELLATION, SHUTDOWN])
@pytest.mark.parametrize("resumed_at", [0, 30])
def test_stop_before_the_first_unit(reason, resumed_at):
    """A stop that is there already saves the unit the run begins with, and no unit is computed."""
    rig = Rig()
    rig.stop(reason)
    assert rig.run(resumed_at) is False
    assert rig.sink.saved == [(resumed_at, reason)]
    assert rig.sink.states == [resumed_at * 10]
    assert rig.boundaries == []
    assert rig.bridge.stopped is not None
    assert rig.bridge.stopped.reason is reason


@pytest.mark.parametrize("stop_unit", [1, 2, 3, 9, 10, 11, 99])
@pytest.mark.parametrize("policy", [CheckpointPolicySpec(), TENS, EVERY], ids=["never", "tens", "every"])
def test_stop_during_a_unit(stop_unit, policy):
    """A stop while a unit is computed lets that unit finish, saves it, and ends the run there."""
    rig = Rig(policy, seconds_per_unit=1)
    rig.on_unit = lambda unit: rig.stop() if unit == stop_unit else None
    assert rig.run() is False
    assert rig.sink.saved[-1] == (stop_unit, CANCELLATION)
    assert rig.sink.states[-1] == stop_unit * 10
    assert rig.boundaries[-1] == stop_unit
    assert [unit for unit, _ in rig.sink.saved].count(stop_unit) == 1


@pytest.mark.parametrize("at_unit", [0, 1, 2, 50, 5_000, 9_999])
def test_stop_at_a_unit(at_unit):
    """A run that is to stop after a unit stops exactly there, however many units a chunk has."""
    rig = Rig(total_units=10_000, seconds_per_unit=1e-6)
    rig.stop(at_unit=at_unit)
    assert rig.run() is False
    assert rig.sink.saved == [(at_unit, CANCELLATION)]


def test_stop_at_a_unit_that_has_passed():
    """A unit that has passed already means the next boundary."""
    rig = Rig(seconds_per_unit=1)
    rig.on_unit = lambda unit: rig.stop(at_unit=3) if unit == 7 else None
    assert rig.run() is False
    assert rig.sink.saved == [(7, CANCELLATION)]


@pytest.mark.parametrize("at_unit", [None, 100, 200])
def test_stop_at_the_last_unit_comes_too_late(at_unit):
    """When all units are done the operation completes, whatever was asked during the last."""
    rig = Rig(seconds_per_unit=1)
    rig.on_unit = lambda unit: rig.stop(at_unit=at_unit) if unit == 100 else None
    assert rig.run() is True
    assert rig.sink.saved == []


def test_nothing_to_do():
    """A run that begins at its last unit is done at once."""
    rig = Rig()
    rig.stop()
    assert rig.run(100) is True
    assert rig.boundaries == []


def test_stop_after_a_periodic_checkpoint_of_the_same_unit():
    """A stop during the wait after a periodic checkpoint is saved with its own reason."""
    rig = Rig(TENS, pace=1.0)
    rig.token.while_waiting = lambda number: rig.stop() if rig.bridge.unit == 10 else None
    assert rig.run() is False
    assert rig.sink.saved == [(10, PERIODIC), (10, CANCELLATION)]


@pytest.mark.parametrize(("fails_in", "saved_unit"), [(1, 0), (2, 1), (57, 56)])
def test_failure_saves_the_last_whole_unit(fails_in, saved_unit):
    """An exception in the engine saves the unit before, with reason failure, and goes on up."""
    rig = Rig(seconds_per_unit=1)

    def fail(unit: int) -> None:
        if unit == fails_in:
            raise ZeroDivisionError("division by zero")

    rig.on_unit = fail
    with pytest.raises(ZeroDivisionError):
        rig.run()
    assert rig.sink.saved == [(saved_unit, FAILURE)]
    assert rig.sink.states == [saved_unit * 10]


def test_failure_of_a_resumed_run_before_its_first_unit():
    """A resumed run that fails at once still leaves a checkpoint to resume from."""
    rig = Rig()

    def fail(unit: int) -> None:
        raise MemoryError

    rig.on_unit = fail
    with pytest.raises(MemoryError):
        rig.run(30)
    assert rig.sink.saved == [(30, FAILURE)]


def test_failure_is_saved_once_and_not_before_the_start():
    """Saving a failure twice is one checkpoint; with no state yet there is nothing to save."""
    rig = Rig()
    rig.bridge.save_failure()
    assert rig.sink.saved == []
    rig.bridge.start(0, 0)
    rig.bridge.save_failure()
    rig.bridge.save_failure()
    assert rig.sink.saved == [(0, FAILURE)]


def test_error_while_saving_a_failure_does_not_hide_the_first():
    """The engine's own error is raised, with a note that its checkpoint could not be saved."""
    rig = Rig()

    def broken(unit: int, state: int) -> CheckpointData:
        raise OSError("disk full")

    rig.bridge.build_checkpoint_data = broken

    def fail(unit: int) -> None:
        raise ZeroDivisionError

    rig.on_unit = fail
    with pytest.raises(ZeroDivisionError) as caught:
        rig.run()
    assert caught.value.__notes__ == ["and the failure checkpoint could not be saved: disk full"]


@pytest.mark.parametrize(("ending", "saved"), [(KeyboardInterrupt, []), (SystemExit, [(0, FAILURE)])])
def test_interruption_is_no_failure_but_leaving_is_one(ending, saved):
    """Being interrupted from outside saves nothing; a job that exits by itself has failed and is saved."""
    rig = Rig()

    def interrupt(unit: int) -> None:
        raise ending

    rig.on_unit = interrupt
    with pytest.raises(ending):
        rig.run()
    assert rig.sink.saved == saved


@pytest.mark.parametrize("unit", [5, 4, 101])
def test_units_only_go_forward(unit):
    """A unit that was reported before, or lies beyond the end, is a bug of the engine."""
    rig = Rig()
    rig.bridge.start(5, 50)
    with pytest.raises(ValueError, match=f"unit {unit} is not between 6 and 100"):
        rig.bridge.update_state(unit, 0)


def test_start_comes_first_and_once():
    """A bridge that was not started, or twice, says so."""
    rig = Rig()
    with pytest.raises(RuntimeError, match="start"):
        rig.bridge.update_state(1, 10)
    rig.bridge.start(0, 0)
    with pytest.raises(RuntimeError, match="once"):
        rig.bridge.start(0, 0)


def test_same_clock_same_boundaries():
    """Two runs with the same clock report and save at the same units."""
    runs = [Rig(TENS, total_units=5_000, seconds_per_unit=0.0007) for _ in range(2)]
    for rig in runs:
        rig.run()
    assert runs[0].boundaries == runs[1].boundaries
    assert runs[0].sink.saved == runs[1].sink.saved
