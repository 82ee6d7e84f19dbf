"""Priorities: the place in the queue, changed while an operation waits."""

import pytest
from milepost_contracts.commands import PrioritizeOperation
from milepost_contracts.events import Prioritized
from milepost_contracts.failures import RejectionCode
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected

from tests.orchestrator.running import Running
from tests.orchestrator.stories import cancelled, claimed, snapshot
from tests.orchestrator.workshop import Workshop


async def given_out(workshop: Workshop) -> list[str]:
    """Every operation in the order in which workers would get it."""
    found: list[str] = []
    while (item := await workshop.work_queue.fetch("counter", timeout_seconds=0.01)) is not None:
        found.append(item.key.operation_id)
    return found


async def begun(workshop: Workshop, **fields: object) -> str:
    answer = await workshop.start(**fields)
    assert isinstance(answer, Accepted), answer
    return answer.operation_id


@pytest.mark.unit
async def test_what_waits_is_put_in_another_place_once(workshop: Workshop) -> None:
    """The last comes first; the event says who, why and what was before; the same priority again is refused."""
    first, second, third = [await begun(workshop, priority=priority) for priority in (0, 5, 0)]
    command = PrioritizeOperation(operation_id=third, priority=9, reason="the paper is due")
    assert isinstance(await workshop.send(command, "cmd-1"), Accepted)
    assert isinstance(await workshop.send(command, "cmd-1"), Duplicate)
    again = await workshop.send(command)
    assert isinstance(again, Rejected)
    assert again.code is RejectionCode.PRIORITY_UNCHANGED
    (event,) = workshop.events(third, Prioritized)
    assert isinstance(event, Prioritized)
    assert (event.before, event.priority, event.reason, event.requested_by) == (
        0,
        9,
        "the paper is due",
        "/test",
    )
    assert (await workshop.state(third)).facts.priority == 9
    assert await given_out(workshop) == [third, second, first]


@pytest.mark.unit
async def test_what_does_not_wait_has_no_place(workshop: Workshop) -> None:
    """A running one is refused; its resume waits with the priority that it was started with."""
    workshop.keep_state()
    operation_id = await begun(workshop, priority=3)
    await workshop.happen(operation_id, claimed(), snapshot("cp-1", 50))
    refused = await workshop.send(PrioritizeOperation(operation_id=operation_id, priority=9))
    assert isinstance(refused, Rejected)
    assert refused.code is RejectionCode.NOT_QUEUED
    await workshop.happen(operation_id, cancelled())
    child = await workshop.resume(operation_id)
    assert isinstance(child, Accepted)
    assert (await workshop.state(child.operation_id)).facts.priority == 3


async def test_a_priority_is_changed_over_http_and_shown(running: Running) -> None:
    """The same answers as on the bus, and the read models have it."""
    operation_id = await running.start(priority=1)
    answer = await running.http.post(f"/operations/{operation_id}/prioritize", json={"priority": 7})
    assert answer.status_code == 200
    refused = await running.client.request(PrioritizeOperation(operation_id=operation_id, priority=7))
    problem = await running.http.post(f"/operations/{operation_id}/prioritize", json={"priority": 7})
    assert isinstance(refused, Rejected)
    assert (problem.status_code, problem.json()["code"]) == (409, refused.code.value)
    await running.projected()
    assert (await running.http.get(f"/operations/{operation_id}")).json()["priority"] == 7
