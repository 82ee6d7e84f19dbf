"""Cleanups by their rules, and every order in which a resume and a deletion can meet, over doubles."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints, KeepBest
from milepost_contracts.commands import DeleteCheckpoint, PinCheckpoint, ResumeOperation
from milepost_contracts.events import (
    CheckpointContinued,
    CheckpointDeleted,
    CheckpointPinned,
    Event,
    Requested,
    Resumed,
)
from milepost_contracts.verdicts import Accepted, Rejected
from milepost_orchestrator.domain.cleanup_decisions import judge_checkpoints
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.orchestrator.stories import (
    EPOCH,
    cancelled,
    claimed,
    completed,
    refused_checkpoint,
    requested,
    snapshot,
    started,
    story,
)
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit

DAY = 86_400.0


def judged(*events: Event, age_seconds: float = 40 * DAY, **rules: object) -> dict[str, str | None]:
    """Why each checkpoint is kept (None: it goes), ``age_seconds`` after the last event."""
    state = story(requested(), claimed(), started(), *events)
    command = CleanUpCheckpoints.model_validate(rules)
    now = EPOCH + timedelta(seconds=len(events) + 3 + age_seconds)
    found = judge_checkpoints(state, command, live_descendant=None, now=now)
    return {each.checkpoint.checkpoint_id: each.kept for each in found}


def saved(number: int, **summary: object) -> Event:
    return snapshot(f"cp-{number}", number * 10, summary=summary)


FOUR = tuple(saved(number, loss=loss) for number, loss in enumerate([3.0, 1.0, 2.0, 4.0], 1))


def test_the_newest_are_kept_by_unit() -> None:
    """Of four checkpoints the two of the highest units stay; the others go."""
    assert judged(*FOUR, completed(), keep_newest=2) == {
        "cp-1": None,
        "cp-2": None,
        "cp-3": "newest",
        "cp-4": "newest",
    }


def test_what_is_young_is_not_looked_at() -> None:
    """With an age, only what was saved that long ago is judged at all."""
    assert judged(*FOUR, completed(), age_seconds=DAY, older_than_seconds=2 * DAY) == {}
    kept = judged(*FOUR, completed(), age_seconds=3 * DAY, older_than_seconds=2 * DAY)
    assert kept == dict.fromkeys(("cp-1", "cp-2", "cp-3", "cp-4"))


def test_age_and_newest_must_both_fit() -> None:
    """An old checkpoint among the newest stays."""
    kept = judged(*FOUR, completed(), older_than_seconds=DAY, keep_newest=1)
    assert kept == {"cp-1": None, "cp-2": None, "cp-3": None, "cp-4": "newest"}


def test_the_best_are_kept_by_a_metric() -> None:
    """The lowest losses stay, or the highest values, as asked."""
    low = judged(*FOUR, completed(), keep_best=KeepBest(metric="loss", count=2, lowest=True))
    assert [name for name, why in low.items() if why] == ["cp-2", "cp-3"]
    high = judged(*FOUR, completed(), keep_best=KeepBest(metric="loss"))
    assert [name for name, why in high.items() if why] == ["cp-4"]


def test_a_misspelt_metric_deletes_nothing() -> None:
    """Where no checkpoint has the metric every one stays; one without it among others that have it goes."""
    assert set(judged(*FOUR, completed(), keep_best=KeepBest(metric="lost")).values()) == {"best"}
    mixed = (saved(1, loss=1.0), saved(2), saved(3, loss=float("nan")), saved(4, loss=True))
    assert judged(*mixed, completed(), keep_best=KeepBest(metric="loss")) == {
        "cp-1": "best",
        "cp-2": None,
        "cp-3": None,
        "cp-4": None,
    }


def test_pinned_and_refused() -> None:
    """A pinned one stays; a refused one is never among the newest and goes."""
    events = (*FOUR, refused_checkpoint("cp-4"), CheckpointPinned(checkpoint_id="cp-1"), completed())
    assert judged(*events, keep_newest=1) == {"cp-1": "pinned", "cp-2": None, "cp-3": "newest", "cp-4": None}


def test_nothing_goes_of_an_operation_that_has_not_ended() -> None:
    """Running: every one is in use."""
    assert set(judged(*FOUR, keep_newest=0).values()) == {"in-use"}


def test_a_cleanup_without_a_rule_is_refused() -> None:
    """It would delete everything; that has to be said."""
    with pytest.raises(ValueError, match="needs a rule"):
        CleanUpCheckpoints()


# --- through the handler --------------------------------------------------------------------------


async def ended(workshop: Workshop, *names: str) -> str:
    workshop.keep_state()
    operation_id = (await workshop.start()).operation_id
    snapshots = [snapshot(name, unit) for unit, name in enumerate(names, 10)]
    await workshop.happen(operation_id, claimed(), started(), *snapshots, cancelled(unit=60))
    return operation_id


async def clean(workshop: Workshop, command_id: str | None = None, **rules: object) -> CleanedUp:
    answer = await workshop.send(CleanUpCheckpoints.model_validate(rules), command_id)
    assert isinstance(answer, CleanedUp), answer
    return answer


def named(answer: CleanedUp) -> tuple[list[str], list[str]]:
    return [e.checkpoint_id for e in answer.deleted], [e.checkpoint_id for e in answer.skipped]


async def test_a_dry_run_lists_what_the_real_one_does(workshop: Workshop) -> None:
    """The same deleted, the same skipped with the same words; and only the real one writes events."""
    first = await ended(workshop, "cp-1", "cp-2", "cp-3")
    await workshop.send(PinCheckpoint(operation_id=first, checkpoint_id="cp-1"))
    running = (await workshop.start()).operation_id
    await workshop.happen(running, claimed(), started(), snapshot("cp-9"))
    would = await clean(workshop, "cmd-1", keep_newest=1, dry_run=True)
    assert workshop.events(first, CheckpointDeleted) == []
    done = await clean(workshop, "cmd-1", keep_newest=1, reason="monthly")
    assert would == done.model_copy(update={"dry_run": True})
    assert named(done)[0] == ["cp-2"]
    assert {entry.checkpoint_id: entry.kept for entry in done.skipped} == {
        "cp-1": "pinned",
        "cp-3": "newest",
        "cp-9": "in-use",
    }
    (deleted,) = workshop.events(first, CheckpointDeleted)
    assert isinstance(deleted, CheckpointDeleted)
    assert (deleted.checkpoint_id, deleted.requested_by) == ("cp-2", "/test")
    assert deleted.reason == "monthly: not the newest"


async def test_steps_cover_everything_once(workshop: Workshop) -> None:
    """With a limit of two, a dry run's steps and a real one's name the same checkpoints, each once."""
    for names in ("abc", "defgh", "i"):
        await ended(workshop, *(f"cp-{name}" for name in names))

    async def all_steps(**rules: object) -> list[str]:
        found: list[str] = []
        after = None
        while True:
            step = await clean(workshop, limit=2, after=after, **rules)
            assert len(step.deleted) + len(step.skipped) <= 2
            found += sorted(named(step)[0] + named(step)[1])
            after = step.next_after
            if after is None:
                return found

    dry = await all_steps(keep_newest=1, dry_run=True)
    real = await all_steps(keep_newest=1)
    assert dry == real
    assert sorted(dry) == [f"cp-{name}" for name in "abcdefghi"]


async def test_what_something_goes_on_from_is_in_use(workshop: Workshop) -> None:
    """Its child runs: nothing of the parent goes; it has ended: all goes."""
    parent = await ended(workshop, "cp-1", "cp-2")
    child = (await workshop.resume(parent)).operation_id
    kept = await clean(workshop, keep_newest=0, operation_id=parent)
    assert {entry.kept for entry in kept.skipped} == {"in-use"}
    assert child in kept.skipped[0].message
    await workshop.happen(child, claimed(), cancelled(unit=60))
    assert named(await clean(workshop, keep_newest=0, operation_id=parent))[0] == ["cp-1", "cp-2"]


# --- a resume from an ancestor's checkpoint meets its deletion -------------------------------------


class GatedLog(MemoryEventLog):
    """Holds every append of one event type back until it is let through."""

    def __init__(self, held: type[Event]) -> None:
        super().__init__()
        self.held: type[Event] | None = held
        self.waiting = asyncio.Event()
        self.let_through = asyncio.Event()

    async def append(self, envelope, event: type[Event], *, expected_sequence: int) -> int:
        if event is self.held:
            self.waiting.set()
            await self.let_through.wait()
        return await super().append(envelope, event, expected_sequence=expected_sequence)


async def grandparent(workshop: Workshop, log: GatedLog) -> tuple[str, str]:
    """An operation with cp-1, and a resume of it that ended without a checkpoint of its own."""
    held, log.held = log.held, None
    origin = await ended(workshop, "cp-1")
    child = (await workshop.resume(origin)).operation_id
    await workshop.happen(child, claimed(), cancelled(unit=50))
    log.held = held
    return origin, child


def outcome(workshop: Workshop, origin: str, child: str) -> tuple[int, int]:
    gone = len(workshop.events(origin, CheckpointDeleted))
    return len(workshop.events(child, Resumed)), gone


@pytest.mark.parametrize("held", [CheckpointContinued, Resumed, CheckpointDeleted, Requested])
@pytest.mark.parametrize("bulk", [False, True])
async def test_a_checkpoint_is_never_deleted_under_a_grandchild(
    tmp_path: Path, held: type[Event], bulk: bool
) -> None:
    """Whichever write is held back while the other command runs whole: one wins, and the other is told why."""
    log = GatedLog(held)
    workshop = await Workshop(tmp_path, log).open()
    origin, child = await grandparent(workshop, log)

    async def resume():
        return await workshop.send(ResumeOperation(operation_id=child))

    async def delete() -> bool:
        if bulk:
            return named(await clean(workshop, keep_newest=0, operation_id=origin))[0] == ["cp-1"]
        command = DeleteCheckpoint(operation_id=origin, checkpoint_id="cp-1")
        return isinstance(await workshop.send(command), Accepted)

    first, second = (delete, resume) if held is CheckpointDeleted else (resume, delete)
    cut_off = asyncio.create_task(first())
    await log.waiting.wait()
    held_back, log.held = log.held, None
    after = await second()
    log.let_through.set()
    before = await cut_off
    resumed, deleted = (after, before) if held_back is CheckpointDeleted else (before, after)
    assert isinstance(resumed, Accepted) != deleted
    assert outcome(workshop, origin, child) in ((1, 0), (0, 1))
    if isinstance(resumed, Rejected):
        assert resumed.code == "checkpoint-not-found"
        assert "was deleted" in resumed.message


async def test_an_announcement_that_nothing_came_of_does_not_keep_for_ever(tmp_path: Path) -> None:
    """Its writer crashed before the resume itself: in use for ten minutes, not for ever."""
    workshop = await Workshop(tmp_path).open()
    origin = await ended(workshop, "cp-1")
    child = (await workshop.resume(origin)).operation_id
    await workshop.happen(child, claimed(), cancelled(unit=50))
    announced = CheckpointContinued(checkpoint_id="cp-1", parent_id=child, child_id="op-never")
    await workshop.happen(origin, announced)
    kept = await clean(workshop, keep_newest=0, operation_id=origin)
    assert [entry.kept for entry in kept.skipped] == ["in-use"]
    workshop.clock.advance(601)
    assert named(await clean(workshop, keep_newest=0, operation_id=origin))[0] == ["cp-1"]
