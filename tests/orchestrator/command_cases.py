"""One case of every command: what there is before it, and the command."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.commands import (
    CancelOperation,
    CheckpointNow,
    Command,
    DeleteCheckpoint,
    DrainWorker,
    ForkOperation,
    HoldDispatch,
    LimitKind,
    PinCheckpoint,
    PrioritizeOperation,
    ReleaseDispatch,
    ResumeOperation,
    RetryOperation,
    StartOperation,
    UndrainWorker,
    UnpinCheckpoint,
)
from milepost_contracts.examples import HEARTBEAT_EXAMPLE
from milepost_contracts.ids import schedule_id_of
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    Timing,
    UnpauseSchedule,
)

from tests.orchestrator.stories import cancelled, claimed, completed, failed, snapshot, started
from tests.orchestrator.workshop import Workshop


async def queued(workshop: Workshop) -> str:
    return (await workshop.start("cmd-first")).operation_id or ""


async def running(workshop: Workshop) -> str:
    operation_id = await queued(workshop)
    workshop.keep_state()
    await workshop.happen(operation_id, claimed(), started())
    await record(workshop, operation_id, "cp-1")
    return operation_id


async def record(workshop: Workshop, operation_id: str, *names: str) -> None:
    for unit, name in enumerate(names, 50):
        await workshop.registrar.handle(await workshop.happen(operation_id, snapshot(name, unit)))


async def ended(workshop: Workshop) -> str:
    operation_id = await running(workshop)
    await workshop.happen(operation_id, cancelled())
    return operation_id


async def grandparent(workshop: Workshop) -> str:
    """The child of an operation with a checkpoint, cancelled before it saved one of its own."""
    child_id = (await workshop.resume(await ended(workshop), "cmd-second")).operation_id or ""
    await workshop.happen(child_id, claimed(), cancelled().model_copy(update={"checkpoint_id": None}))
    return child_id


async def stumbled(workshop: Workshop) -> str:
    operation_id = await running(workshop)
    await workshop.happen(operation_id, failed())
    return operation_id


async def finished_with_three(workshop: Workshop) -> str:
    operation_id = await running(workshop)
    await record(workshop, operation_id, "cp-2", "cp-3")
    await workshop.happen(operation_id, completed())
    return operation_id


async def pinned(workshop: Workshop) -> str:
    operation_id = await ended(workshop)
    await workshop.send(PinCheckpoint(operation_id=operation_id, checkpoint_id="cp-1"), "cmd-pin")
    return operation_id


async def held(workshop: Workshop) -> str:
    await workshop.send(HoldDispatch(kind="counter"), "cmd-hold")
    return ""


async def scheduled(workshop: Workshop) -> str:
    await workshop.send(DAILY, "cmd-schedule")
    return schedule_id_of("cmd-schedule")


async def paused(workshop: Workshop) -> str:
    schedule_id = await scheduled(workshop)
    await workshop.send(PauseSchedule(schedule_id=schedule_id), "cmd-pause")
    return schedule_id


async def alive(workshop: Workshop) -> str:
    """A worker is there."""
    await workshop.fleet.beat(HEARTBEAT_EXAMPLE.model_copy(update={"worker_id": "w-1", "operations": ()}))
    return ""


async def drained(workshop: Workshop) -> str:
    """It takes nothing new."""
    await alive(workshop)
    await workshop.send(DrainWorker(worker_id="w-1"), "cmd-drain")
    return ""


async def nothing(workshop: Workshop) -> str:
    return ""


START = StartOperation(kind="counter", spec={"units": 100}, priority=3)
DAILY = CreateSchedule(timing=Timing(cron="0 3 * * *"), start=START)


@dataclass(frozen=True)
class Case:
    """What there is, and the command that is sent then."""

    given: Callable[[Workshop], Awaitable[str]]
    command: Callable[[str], Command]
    stepwise: bool = False
    """Its effect is many effects, each of them whole or not there."""


CASES: dict[str, Case] = {
    "start": Case(nothing, lambda _: START),
    "start with data": Case(
        nothing, lambda _: StartOperation(kind="backtest", spec={"data": {"name": "aapl"}})
    ),
    "cancel what waits": Case(queued, lambda it: CancelOperation(operation_id=it)),
    "cancel what runs": Case(running, lambda it: CancelOperation(operation_id=it)),
    "cancel by a deadline": Case(running, lambda it: CancelOperation(operation_id=it, deadline_seconds=60)),
    "cancel by force": Case(running, lambda it: CancelOperation(operation_id=it, force=True)),
    "resume": Case(ended, lambda it: ResumeOperation(operation_id=it)),
    "resume from a grandparent": Case(grandparent, lambda it: ResumeOperation(operation_id=it)),
    "fork": Case(ended, lambda it: ForkOperation(operation_id=it, changes={"seconds": 2.0})),
    "retry": Case(stumbled, lambda it: RetryOperation(operation_id=it)),
    "checkpoint-now": Case(running, lambda it: CheckpointNow(operation_id=it)),
    "prioritize": Case(queued, lambda it: PrioritizeOperation(operation_id=it, priority=7)),
    "pin": Case(ended, lambda it: PinCheckpoint(operation_id=it, checkpoint_id="cp-1")),
    "unpin": Case(pinned, lambda it: UnpinCheckpoint(operation_id=it, checkpoint_id="cp-1")),
    "delete": Case(ended, lambda it: DeleteCheckpoint(operation_id=it, checkpoint_id="cp-1")),
    "hold": Case(nothing, lambda _: HoldDispatch(kind="counter")),
    "release": Case(held, lambda _: ReleaseDispatch(kind="counter")),
    "limit": Case(nothing, lambda _: LimitKind(kind="counter", limit=1)),
    "drain": Case(alive, lambda _: DrainWorker(worker_id="w-1")),
    "undrain": Case(drained, lambda _: UndrainWorker(worker_id="w-1")),
    "cleanup of one": Case(ended, lambda _: CleanUpCheckpoints(keep_newest=0)),
    "cleanup of three": Case(finished_with_three, lambda _: CleanUpCheckpoints(keep_newest=0), stepwise=True),
    "schedule": Case(nothing, lambda _: DAILY),
    "pause": Case(scheduled, lambda it: PauseSchedule(schedule_id=it)),
    "unpause": Case(paused, lambda it: UnpauseSchedule(schedule_id=it)),
    "delete-schedule": Case(scheduled, lambda it: DeleteSchedule(schedule_id=it)),
}
