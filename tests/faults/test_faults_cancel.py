"""Cancels with a deadline and by force, of work that does not listen."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
from milepost_contracts.events import Cancelled, Claimed, Completed, Side, Started, StateSnapshot
from milepost_test_kinds.counter import expected_value

from tests.support.harness import Harness, child_pid

pytestmark = pytest.mark.faults

UNITS = 150
DEAF_AT = 120
PACE = 50.0
DEAF_SECONDS = 600.0
"""Longer than any test: it holds the interpreter in native code, where no request to stop arrives."""


async def deaf(harness: Harness, marker: Path) -> str:
    """Start a count that hears nothing from unit 120 on, once; return when its checkpoint at 100 is durable."""
    spec = {"units": UNITS, "at": DEAF_AT, "does": "native", "seconds": DEAF_SECONDS, "once": str(marker)}
    operation_id = await harness.start("counter", spec, pace_units_per_second=PACE)
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot) and event.unit == 100)
    while not await asyncio.to_thread(marker.exists):  # a file has no event to await
        pass
    return operation_id


async def resumed_is_exact(harness: Harness, operation_id: str) -> None:
    """What was ended by force goes on from its newest checkpoint, to the result of an undisturbed one."""
    child = await harness.resume(operation_id)
    completed = await harness.end(child)
    assert isinstance(completed, Completed)
    assert completed.summary["value"] == expected_value(UNITS)
    (started,) = await harness.events(child, Started)
    assert started.unit == 100


@pytest.mark.parametrize("how", [{"deadline_seconds": 1.0}, {"force": True}])
async def test_a_child_that_ignores_the_request_is_killed_by_its_worker(
    harness: Harness, tmp_path: Path, how: dict[str, object]
) -> None:
    """At the deadline, or at once; it ends as of its newest checkpoint and says so, and the worker works on."""
    await harness.services.orchestrator()
    worker = await harness.services.worker()
    operation_id = await deaf(harness, tmp_path / "deaf")
    child = psutil.Process(child_pid(worker))

    await harness.cancel(operation_id, reason="it hangs", **how)

    event = await harness.end(operation_id)
    assert isinstance(event, Cancelled)
    assert (event.unit, event.forced) == (100, True)
    assert event.reason == "it hangs; by force, the computing process did not stop in time and was ended"
    assert psutil.wait_procs([child], timeout=10)[1] == []
    await resumed_is_exact(harness, operation_id)


async def test_an_operation_whose_worker_is_silent_is_fenced_by_the_orchestrator(
    harness: Harness, tmp_path: Path
) -> None:
    """Also by the next orchestrator; the worker wakes up later: nothing that it writes counts, its child goes."""
    first = await harness.services.orchestrator()
    worker = await harness.services.worker("w-1")
    operation_id = await deaf(harness, tmp_path / "deaf")
    child = psutil.Process(child_pid(worker))
    os.kill(worker.pid, signal.SIGSTOP)

    await harness.cancel(operation_id, deadline_seconds=1.0)
    await first.kill()
    await harness.services.orchestrator("o-2", MILEPOST_SWEEP_SECONDS="0.5")

    event = await harness.end(operation_id)
    assert isinstance(event, Cancelled)
    assert (event.unit, event.forced) == (100, True)
    assert "worker w-1 did not end it in time" in (event.reason or "")
    os.kill(worker.pid, signal.SIGCONT)
    assert psutil.wait_procs([child], timeout=30)[1] == [], "the fenced worker still computes"
    await resumed_is_exact(harness, operation_id)
    run = [entry.event for entry in await harness.log(operation_id) if entry.event.SIDE is Side.RUN]
    assert isinstance(run[-1], Cancelled), "a word of the fenced worker came after the end"
    assert len(await harness.events(operation_id, Claimed)) == 1
