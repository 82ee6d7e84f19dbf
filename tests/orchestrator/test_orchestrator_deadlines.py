"""Cancels with a deadline: who ends an operation whose worker does not, and when."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from milepost_contracts.events import Cancelled, CancelRequested
from milepost_contracts.verdicts import Accepted
from milepost_orchestrator.application.alarms import Alarms
from milepost_orchestrator.application.effects import FENCE_GRACE_SECONDS
from milepost_runtime.errors import BusUnavailableError, SequenceConflictError
from milepost_runtime.signals import Owner
from milepost_runtime.testing.clock import ManualClock
from milepost_runtime.testing.kill_points import Killed

from tests.orchestrator.stories import claimed, progress, snapshot
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit


async def running(workshop: Workshop) -> str:
    """An operation at unit 70 with a checkpoint at 50."""
    workshop.keep_state()
    operation_id = (await workshop.start()).operation_id
    assert operation_id is not None
    await workshop.happen(operation_id, claimed(), snapshot("cp-1", 50), progress(70))
    return operation_id


async def test_without_an_answer_it_is_ended_at_the_deadline(workshop: Workshop) -> None:
    """As of the newest checkpoint, with the truth in its reason; a late word of the worker is refused."""
    operation_id = await running(workshop)
    await workshop.cancel(operation_id, deadline_seconds=30, reason="too slow")
    (deadline_at,) = workshop.alarms.expected.values()
    assert await workshop.effects.enforce_deadline(operation_id) == deadline_at
    late = await workshop.event_log.last_sequence(operation_id, Cancelled.SIDE)
    workshop.clock.advance(30)
    assert await workshop.effects.enforce_deadline(operation_id) is None
    (event,) = workshop.events(operation_id, Cancelled)
    assert isinstance(event, Cancelled)
    assert (event.unit, event.checkpoint_id, event.forced) == (50, "cp-1", True)
    assert event.reason == "too slow; by force, worker w-1 did not end it in time"
    assert not await workshop.has_work(operation_id)
    envelope = workshop.event_log.entries[-1].envelope.model_copy(update={"id": "ev-late"})
    with pytest.raises(SequenceConflictError):
        await workshop.event_log.append(envelope, Cancelled, expected_sequence=late)
    assert isinstance(await workshop.resume(operation_id), Accepted)


async def test_a_worker_that_answers_has_a_moment_more(workshop: Workshop) -> None:
    """It has the deadline too; when it still has not ended the operation, it is fenced and told to look."""
    operation_id = await running(workshop)
    woken = asyncio.Event()

    async def wake() -> None:
        woken.set()

    await workshop.signals.serve(Owner("w-1", 1), operation_id, wake)
    await workshop.cancel(operation_id, force=True)
    again = await workshop.effects.enforce_deadline(operation_id)
    assert again == workshop.clock.now() + timedelta(seconds=FENCE_GRACE_SECONDS)
    assert workshop.events(operation_id, Cancelled) == []
    workshop.clock.advance(FENCE_GRACE_SECONDS)
    woken.clear()
    assert await workshop.effects.enforce_deadline(operation_id) is None
    assert len(workshop.events(operation_id, Cancelled)) == 1
    assert woken.is_set()


async def test_force_ends_what_nobody_owns_at_once(workshop: Workshop) -> None:
    """Also an operation that waits for the unit of an earlier cancel."""
    operation_id = (await workshop.start()).operation_id
    assert operation_id is not None
    await workshop.cancel(operation_id, at_unit=50)
    await workshop.cancel(operation_id, force=True)
    assert len(workshop.events(operation_id, CancelRequested)) == 2
    assert len(workshop.events(operation_id, Cancelled)) == 1


async def test_an_end_by_force_that_was_cut_off_leaves_no_work(workshop: Workshop, tmp_path: Path) -> None:
    """Killed right after the end was written, an orchestrator leaves the work; the end's event takes it out."""
    operation_id = await running(workshop)
    await workshop.cancel(operation_id, force=True)
    dying = Workshop(tmp_path, over=workshop, name="o-2")
    append, event_log = workshop.event_log.append, workshop.event_log

    async def append_and_die(*values, **named) -> int:
        sequence = await append(*values, **named)
        raise Killed(sequence)

    event_log.append = append_and_die
    with pytest.raises(Killed):
        await dying.effects.enforce_deadline(operation_id)
    event_log.append = append
    (end,) = [entry for entry in event_log.entries if isinstance(entry.event, Cancelled)]
    assert await workshop.has_work(operation_id)
    await workshop.reactor.handle(end)
    assert not await workshop.has_work(operation_id)


async def test_an_alarm_rings_at_its_time_and_again_after_an_outage() -> None:
    """The earliest time stands, a deed that failed is tried again, one that is done is not."""
    clock, rung = ManualClock(), asyncio.Queue[str]()
    alarms = Alarms(clock)
    outages = iter([BusUnavailableError("away")])

    async def deed(key: str) -> None:
        await rung.put(key)
        for outage in outages:
            raise outage

    ringing = asyncio.create_task(alarms.run(deed))
    alarms.expect("op-1", clock.now() + timedelta(seconds=60))
    alarms.expect("op-1", clock.now())
    assert await rung.get() == "op-1"
    clock.advance(2)
    async with asyncio.timeout(10):
        assert await rung.get() == "op-1"
    await asyncio.sleep(0)
    assert alarms.expected == {}
    ringing.cancel()
