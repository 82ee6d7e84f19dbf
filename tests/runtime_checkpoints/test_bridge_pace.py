"""How far the engine goes between two reports, and how long it waits after one."""

import threading
import time

import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.pace import REPORT_SECONDS, UNITS_MAX
from milepost_runtime.clock import SystemClock

from tests.runtime_checkpoints.bridge_doubles import (
    CANCELLATION,
    MANUAL,
    CountingBridge,
    RecordingSink,
    Rig,
)

pytestmark = pytest.mark.unit


def chunks(rig: Rig) -> list[int]:
    return [after - before for before, after in zip([0, *rig.boundaries], rig.boundaries, strict=False)]


@pytest.mark.parametrize("seconds_per_unit", [1e-6, 1e-4, 0.004])
def test_chunks_settle_at_the_report_interval(seconds_per_unit):
    """The time between reports settles at 25 ms, whatever a unit takes."""
    rig = Rig(total_units=int(2 / seconds_per_unit), seconds_per_unit=seconds_per_unit)
    rig.run()
    settled = chunks(rig)[6:-1]
    assert settled
    assert all(REPORT_SECONDS * 0.8 <= units * seconds_per_unit <= REPORT_SECONDS * 1.01 for units in settled)


def test_slow_units_are_reported_each():
    """Units that take longer than the interval are reported one by one."""
    rig = Rig(total_units=7, seconds_per_unit=60)
    rig.run()
    assert rig.boundaries == [1, 2, 3, 4, 5, 6, 7]


def test_chunk_has_a_limit():
    """However fast the engine is, a chunk has at most 100 000 units."""
    rig = Rig(total_units=1_000_000, seconds_per_unit=1e-9)
    rig.run()
    assert max(chunks(rig)) == UNITS_MAX


def test_clock_that_stands_still():
    """With no time measurable the chunks grow step by step to the limit."""
    rig = Rig(total_units=400_000)
    rig.run()
    assert chunks(rig)[:7] == [1, 8, 64, 512, 4096, 32768, 100_000]


def test_units_that_become_slow():
    """A chunk that took too long is followed by a small one."""
    rig = Rig(total_units=130_000, seconds_per_unit=1e-6)

    def slow_down(unit: int) -> None:
        if unit == 100_000:
            rig.seconds_per_unit = 0.01

    rig.on_unit = slow_down
    rig.run()
    assert chunks(rig)[-2] == 2


def test_boundary_never_passes_policy_stop_or_end():
    """The next report is at the next multiple, the unit to stop at, or the end, whichever is first."""
    rig = Rig(CheckpointPolicySpec(every_units=1000), total_units=2500)
    rig.bridge.start(0, 0)
    for unit in (1, 9, 73, 585):
        assert rig.bridge.next_boundary(rig.bridge.unit) == unit
        rig.bridge.update_state(unit, 0)
    assert rig.bridge.next_boundary(585) == 1000
    rig.stop(at_unit=700)
    assert rig.bridge.next_boundary(585) == 700
    assert rig.bridge.next_boundary(2400) == 2401
    rig.stop()
    assert rig.bridge.next_boundary(585) == 586


def test_pace_is_kept():
    """A run at 50 units a second takes as long as that says, with about 25 ms between reports."""
    rig = Rig(total_units=100, pace=50.0, seconds_per_unit=0.001)
    began = rig.clock.seconds
    assert rig.run() is True
    assert rig.clock.seconds - began == pytest.approx((100 - 1) / 50.0 + 0.001, abs=0.03)
    assert chunks(rig) == [1] * 100


def test_fast_pace_has_larger_chunks():
    """At 4 000 units a second a report comes each 100 units."""
    rig = Rig(total_units=4_000, pace=4_000.0, seconds_per_unit=1e-6)
    began = rig.clock.seconds
    rig.run()
    assert max(chunks(rig)) == 100
    assert rig.clock.seconds - began == pytest.approx(1.0, abs=0.03)


def test_run_that_is_slower_than_its_pace_does_not_wait():
    """Units that take longer than the pace allows are not slowed down further."""
    rig = Rig(total_units=20, pace=10.0, seconds_per_unit=1.0)
    rig.run()
    assert rig.token.waits == []


def test_run_that_fell_behind_does_not_hurry():
    """After a long stall the pace goes on from there, without catching up."""
    rig = Rig(total_units=40, pace=10.0)

    def stall(unit: int) -> None:
        if unit == 20:
            rig.clock.advance(60)

    rig.on_unit = stall
    began = rig.clock.seconds
    rig.run()
    assert rig.clock.seconds - began == pytest.approx(60 + 3.9, abs=0.25)


@pytest.mark.parametrize("wait_number", [0, 1, 5])
def test_cancel_during_a_wait_stops_there(wait_number):
    """A cancel while the bridge waits saves the unit just done and computes no other."""
    rig = Rig(pace=0.5)
    rig.token.while_waiting = lambda number: rig.stop() if number == wait_number else None
    assert rig.run() is False
    assert rig.sink.saved == [(rig.boundaries[-1], CANCELLATION)]
    assert len(rig.token.waits) == wait_number + 1


def test_stop_at_a_later_unit_does_not_end_the_wait():
    """A request for a later unit leaves the pace as it is and stops at its unit."""
    rig = Rig(pace=2.0)
    rig.token.while_waiting = lambda number: rig.stop(at_unit=3) if number == 0 else None
    began = rig.clock.seconds
    assert rig.run() is False
    assert rig.sink.saved == [(3, CANCELLATION)]
    assert rig.clock.seconds - began == pytest.approx(1.0)


def test_manual_checkpoint_during_a_wait():
    """A request during a long wait is served within the wait."""
    rig = Rig(total_units=2, pace=0.1)

    def ask(number: int) -> None:
        if number == 3:
            rig.sink.manual_requests = 1

    rig.token.while_waiting = ask
    assert rig.run() is True
    assert rig.sink.saved == [(1, MANUAL)]


def test_no_wait_after_the_last_unit():
    """A paced run is done as soon as its last unit is, also when a stop is requested by then."""
    rig = Rig(total_units=1, pace=0.001)
    rig.on_unit = lambda unit: rig.stop()
    assert rig.run() is True
    assert rig.token.waits == []


def test_cancel_from_another_thread_is_immediate():
    """On the real clock, a cancel ends a wait of minutes at once."""
    token, sink, waiting = CancellationToken(), RecordingSink(), threading.Event()
    bridge = CountingBridge(
        BridgeHost(
            sink=sink,
            token=token,
            policy=CheckpointPolicySpec(),
            clock=SystemClock(),
            total_units=10,
            pace_units_per_second=0.001,
        )
    )

    def cancel() -> None:
        waiting.wait()
        token.request(StopRequest(reason=CANCELLATION))

    canceller = threading.Thread(target=cancel)
    canceller.start()
    assert bridge.start(0, 0)
    began = time.monotonic()
    waiting.set()
    assert bridge.update_state(1, 10) is False
    canceller.join()
    assert time.monotonic() - began < 30  # the pace alone would have it wait for longer
    assert sink.saved == [(1, CANCELLATION)]
