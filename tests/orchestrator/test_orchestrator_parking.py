"""Work that only some workers may have waits outside of the queue until one of those is free."""

import pytest
from milepost_contracts.capabilities import Needs
from milepost_orchestrator.application.parking import NeedingWork, Parking
from milepost_orchestrator.domain.operation import Queued
from milepost_runtime.testing.fleet import TTL_SECONDS
from milepost_runtime.work_queue import WorkKey

from tests.orchestrator.stories import claimed
from tests.orchestrator.test_orchestrator_waiting import beat
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit
BIG = {"needs": {"labels": ["big"]}}


class Waiting:
    """Implements ``NeedingOperations`` over the log, the oldest first."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def needing_work(self, limit: int) -> list[NeedingWork]:
        found: list[NeedingWork] = []
        for operation_id in dict.fromkeys(each.operation_id for each in self._workshop.event_log.entries):
            state = await self._workshop.state(operation_id)
            needs = state.facts.requested.options.needs
            if isinstance(state, Queued) and needs is not None:
                found.append(NeedingWork(WorkKey("counter", "default", operation_id), needs, 0))
        return found[:limit]


def parking_of(workshop: Workshop) -> Parking:
    return Parking(Waiting(workshop), workshop.operations, workshop.work_queue, workshop.fleet)


async def start(workshop: Workshop, **options: object) -> str:
    return (await workshop.start(options=options)).operation_id or ""


async def in_queue(workshop: Workshop, *operation_ids: str) -> list[bool]:
    return [await workshop.has_work(each) for each in operation_ids]


async def test_one_goes_in_for_each_free_slot_of_a_worker_that_may_have_it(workshop: Workshop) -> None:
    """None while there is no such worker, then as many as it has slots, the oldest first; others go in at once."""
    parking = parking_of(workshop)
    first, second, plain = await start(workshop, **BIG), await start(workshop, **BIG), await start(workshop)
    assert await in_queue(workshop, first, second, plain) == [False, False, True]
    await workshop.fleet.beat(beat("w-plain"))
    await parking.look()
    assert await in_queue(workshop, first, second) == [False, False]
    await workshop.fleet.beat(beat("w-big", labels=("big",)))
    await parking.look()
    assert await in_queue(workshop, first, second) == [True, False]
    third = await start(workshop, **BIG)  # a slot is free, and who starts it does not know for whom
    assert await in_queue(workshop, third) == [True]
    await parking.look()
    assert await in_queue(workshop, first, second, third) == [True, False, False]


async def test_what_nobody_free_may_have_any_more_is_parked_again(workshop: Workshop) -> None:
    """When the worker is gone, and when it is busy; what it has claimed keeps its work."""
    parking = parking_of(workshop)
    await workshop.fleet.beat(beat("w-big", labels=("big",)))
    first = await start(workshop, **BIG)
    workshop.clock.advance(TTL_SECONDS)
    await parking.look()
    assert await in_queue(workshop, first) == [False]
    await workshop.fleet.beat(beat("w-big", labels=("big",)))
    await parking.look()
    second = await start(workshop, **BIG)
    await workshop.happen(first, claimed())
    await workshop.fleet.beat(beat("w-big", (first,), labels=("big",)))
    await parking.look()
    assert await in_queue(workshop, first, second) == [True, False]


async def test_the_worker_that_could_do_the_least_else_is_left_to_it(workshop: Workshop) -> None:
    """Of two that have what is needed the one with a GPU is kept for what needs that."""
    parking = parking_of(workshop)
    big, gpu = await start(workshop, **BIG), await start(workshop, needs={"gpus": 1})
    await workshop.fleet.beat(beat("w-1", labels=("big",), gpus=1))
    await workshop.fleet.beat(beat("w-2", labels=("big",)))
    await parking.look()
    assert await in_queue(workshop, big, gpu) == [True, True]


async def test_needs_of_nothing_are_none(workshop: Workshop) -> None:
    """Any worker will do, so it never waits outside."""
    assert await in_queue(workshop, await start(workshop, needs=Needs().model_dump())) == [True]
