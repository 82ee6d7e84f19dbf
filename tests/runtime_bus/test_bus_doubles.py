"""What the doubles have that the real ones have not: faults and a clock in the test's hands."""

from datetime import timedelta

import pytest
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.testing.clock import START, FixedClock, ManualClock
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.runtime_bus.bus_support import CLAIMED, append

pytestmark = pytest.mark.unit


async def test_lost_answer_of_the_double() -> None:
    """An append whose answer is lost is stored, and its repetition finds it."""
    log = MemoryEventLog()
    log.lose_next_answer()
    with pytest.raises(BusUnavailableError):
        await append(log, CLAIMED, "e1", expected=0)
    assert await append(log, CLAIMED, "e1", expected=0) == 1
    assert len(log.entries) == 1


async def test_double_that_is_away() -> None:
    """While the double is away nothing is stored."""
    log = MemoryEventLog()
    log.away = True
    with pytest.raises(BusUnavailableError):
        await append(log, CLAIMED, "e1", expected=0)
    log.away = False
    assert log.entries == []
    assert await append(log, CLAIMED, "e1", expected=0) == 1


def test_clock_passes_when_told() -> None:
    """A manual clock moves both of its times and tells its listeners; it never goes back."""
    clock, heard = ManualClock(), []
    clock.on_advance(lambda: heard.append(clock.monotonic_seconds()))
    clock.advance(1.5)
    clock.advance(0.5)
    assert clock.now() == START + timedelta(seconds=2)
    assert heard == [1.5, 2.0]
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_fixed_clock_stands_still() -> None:
    """A fixed clock says the same whenever it is asked."""
    clock = FixedClock()
    assert clock.now() == clock.now() == START
    assert clock.monotonic_seconds() == 0.0
