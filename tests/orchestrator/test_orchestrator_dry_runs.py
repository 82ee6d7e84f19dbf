"""A dry run says what the real command would be answered, whatever there is and whatever is asked."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.commands import (
    COMMANDS,
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
from milepost_contracts.ids import operation_id_of, schedule_id_of
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    Timing,
    UnpauseSchedule,
)
from milepost_contracts.verdicts import Rejected
from milepost_runtime.testing.clock import START

from tests.orchestrator.stories import (
    EPOCH,
    OPERATION,
    attempt_lost,
    cancelled,
    claimed,
    completed,
    failed,
    progress,
    recorded_checkpoint,
    refused_checkpoint,
    released,
    requested,
    snapshot,
    started,
)
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit

COMMAND_IDS = [f"cmd-{number}" for number in range(6)]
"""Few, so that ids come again: with the same content, and with another."""
operation_ids = st.sampled_from([OPERATION] * 12 + ["op-nobody", *map(operation_id_of, COMMAND_IDS)])
checkpoint_ids = st.sampled_from(["cp-1", "cp-2", "cp-9"])
maybe_checkpoints = st.none() | checkpoint_ids
schedule_ids = st.sampled_from([schedule_id_of(each) for each in COMMAND_IDS])
kinds = st.sampled_from(["counter", "unknown"])
STRATEGIES: dict[type[Command], st.SearchStrategy[Command]] = {
    StartOperation: st.builds(
        StartOperation,
        kind=kinds,
        spec=st.sampled_from([{"units": 5}, {"units": "x"}, {}]),
    ),
    CancelOperation: st.one_of(
        st.builds(CancelOperation, operation_id=operation_ids, at_unit=st.none() | st.sampled_from([5, 70])),
        st.builds(CancelOperation, operation_id=operation_ids, deadline_seconds=st.sampled_from([1.0, 60.0])),
        st.builds(CancelOperation, operation_id=operation_ids, force=st.just(True)),
    ),
    ResumeOperation: st.builds(ResumeOperation, operation_id=operation_ids, checkpoint_id=maybe_checkpoints),
    ForkOperation: st.builds(
        ForkOperation,
        operation_id=operation_ids,
        checkpoint_id=maybe_checkpoints,
        changes=st.sampled_from([{"seconds": 2.0}, {"seconds": 0.5}, {"units": 7}, {"nonsense": 1}, {}]),
    ),
    RetryOperation: st.builds(RetryOperation, operation_id=operation_ids),
    PrioritizeOperation: st.builds(
        PrioritizeOperation, operation_id=operation_ids, priority=st.integers(0, 2)
    ),
    CheckpointNow: st.builds(CheckpointNow, operation_id=operation_ids),
    PinCheckpoint: st.builds(PinCheckpoint, operation_id=operation_ids, checkpoint_id=checkpoint_ids),
    UnpinCheckpoint: st.builds(UnpinCheckpoint, operation_id=operation_ids, checkpoint_id=checkpoint_ids),
    DeleteCheckpoint: st.builds(DeleteCheckpoint, operation_id=operation_ids, checkpoint_id=checkpoint_ids),
    HoldDispatch: st.builds(HoldDispatch, kind=st.none() | kinds),
    ReleaseDispatch: st.builds(ReleaseDispatch, kind=st.none() | kinds),
    LimitKind: st.builds(LimitKind, kind=kinds, limit=st.none() | st.integers(1, 2)),
    DrainWorker: st.builds(DrainWorker, worker_id=st.sampled_from(["w-1", "w-2"]), release=st.booleans()),
    UndrainWorker: st.builds(UndrainWorker, worker_id=st.sampled_from(["w-1", "w-2"])),
    CreateSchedule: st.builds(
        CreateSchedule,
        timing=st.sampled_from(
            [
                Timing(cron="0 3 * * *"),
                Timing(cron="x"),
                Timing(at=START),
                Timing(at=EPOCH + timedelta(hours=1)),
            ]
        ),
        start=st.builds(StartOperation, kind=kinds, spec=st.just({"units": 5})),
    ),
    PauseSchedule: st.builds(PauseSchedule, schedule_id=schedule_ids),
    UnpauseSchedule: st.builds(UnpauseSchedule, schedule_id=schedule_ids),
    DeleteSchedule: st.builds(DeleteSchedule, schedule_id=schedule_ids),
    CleanUpCheckpoints: st.builds(CleanUpCheckpoints, keep_newest=st.integers(0, 1)),
}
EVENTS = (
    claimed(1),
    claimed(2, "w-2"),
    started(1),
    progress(10),
    snapshot("cp-1", 50),
    snapshot("cp-2", 60, attempt=2),
    recorded_checkpoint("cp-1"),
    refused_checkpoint("cp-2"),
    released(),
    attempt_lost(),
    cancelled(),
    completed(),
    failed(),
)
commands = st.tuples(
    st.sampled_from(COMMAND_IDS), st.sampled_from(list(STRATEGIES)).flatmap(lambda each: STRATEGIES[each])
)
SAVED = (claimed(), started(), snapshot("cp-1", 50), recorded_checkpoint("cp-1"), snapshot("cp-2", 60))
openings = st.sampled_from(
    [
        (),
        (claimed(),),
        SAVED,
        (*SAVED, cancelled()),
        (*SAVED, failed()),
        (*SAVED, completed()),
        (*SAVED, released()),
    ]
)
steps = st.lists(st.sampled_from(EVENTS) | commands, max_size=12)


def quietly(test: Callable[[Path], object]) -> None:
    """Run in a directory of its own; thousands of verdicts are no news."""
    with (
        tempfile.TemporaryDirectory() as directory,
        structlog.testing.capture_logs(),
    ):
        asyncio.run(test(Path(directory)))


def test_every_command_is_tried() -> None:
    """Whoever adds a command adds it here."""
    assert set(STRATEGIES) == set(COMMANDS.values())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(has_state=st.sampled_from([True, True, False]), opening=openings, history=steps)
def test_a_dry_run_answers_what_the_real_command_is_answered(
    has_state: bool, opening: tuple, history: list
) -> None:
    """All but `dry_run` itself is the same; nothing is left behind, but a repetition finishes what was cut off."""

    async def tell(directory: Path) -> None:
        workshop = await Workshop(directory).open()
        if has_state:
            workshop.keep_state()
        await workshop.fleet.beat(HEARTBEAT_EXAMPLE.model_copy(update={"worker_id": "w-1"}))
        await workshop.happen(OPERATION, requested(), *opening)
        for step in history:
            if not isinstance(step, tuple):
                await workshop.happen(OPERATION, step)
                continue
            command_id, command = step
            before = (
                len(workshop.event_log.entries),
                len(workshop.records.records),
                workshop.alarms.expected,
            )
            dry = await workshop.send(command.model_copy(update={"dry_run": True}), command_id)
            after = (len(workshop.event_log.entries), len(workshop.records.records), workshop.alarms.expected)
            assert before == after or dry.verdict == "duplicate", "a dry run did something"
            real = await workshop.send(command, command_id)
            assert dry.model_dump(exclude={"dry_run"}) == real.model_dump(exclude={"dry_run"})
            event(f"{command.TYPE} {real.code.value if isinstance(real, Rejected) else real.verdict}")

    quietly(tell)
