"""Decisions about checkpoints: one test for each outcome of saving one now, pinning, unpinning, deleting."""

import pytest
from milepost_contracts.commands import CheckpointNow, DeleteCheckpoint, PinCheckpoint, UnpinCheckpoint
from milepost_contracts.events import (
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRequested,
    CheckpointUnpinned,
)
from milepost_contracts.failures import RejectionCode
from milepost_orchestrator.domain.checkpoint_decisions import (
    decide_checkpoint_now,
    decide_delete,
    decide_pin,
)
from milepost_orchestrator.domain.lineage_decisions import choose_origin
from milepost_orchestrator.domain.operation import CheckpointStatus, Operation
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated

from tests.orchestrator.stories import (
    CHILD,
    OPERATION,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    recorded_checkpoint,
    refused_checkpoint,
    requested,
    snapshot,
    started,
    story,
)

pytestmark = pytest.mark.unit
ME = CommandIdentity("cmd-1", "ev-mine")
PINNED = CheckpointPinned(checkpoint_id="cp-1", reason="for the paper", requested_by="/test")
UNPINNED = CheckpointUnpinned(checkpoint_id="cp-1", requested_by="/test")
DELETED = CheckpointDeleted(checkpoint_id="cp-1", reason="old", requested_by="/test")
RUNNING = (requested(), claimed(), started(), snapshot("cp-1", 50))
ENDED = (*RUNNING, recorded_checkpoint("cp-1"), snapshot("cp-2", 60), cancelled(unit=60))


def now(state: Operation | None):
    command = CheckpointNow(operation_id=OPERATION, reason="moving")
    return decide_checkpoint_now(state, command, ME, "/test")


def pin(state: Operation | None, checkpoint_id: str = "cp-1", identity: CommandIdentity = ME):
    command = PinCheckpoint(operation_id=OPERATION, checkpoint_id=checkpoint_id, reason="for the paper")
    return decide_pin(state, command, identity, "/test")


def unpin(state: Operation | None, checkpoint_id: str = "cp-1"):
    return decide_pin(
        state, UnpinCheckpoint(operation_id=OPERATION, checkpoint_id=checkpoint_id), ME, "/test"
    )


def delete(
    state: Operation | None,
    checkpoint_id: str = "cp-1",
    *,
    living: str | None = None,
    identity: CommandIdentity = ME,
):
    command = DeleteCheckpoint(operation_id=OPERATION, checkpoint_id=checkpoint_id, reason="old")
    return decide_delete(state, command, identity, live_descendant=living, requested_by="/test")


def code(decision: object) -> RejectionCode:
    assert isinstance(decision, Rejection), decision
    assert decision.message
    assert decision.fix
    return decision.code


def test_a_running_operation_is_asked_for_a_checkpoint() -> None:
    """Who asked and why are in the event."""
    assert now(story(*RUNNING)) == CheckpointRequested(reason="moving", requested_by="/test")


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((requested(),), "waits for a worker"),
        ((*RUNNING, cancel_requested()), "when it stops"),
        (ENDED, "has ended"),
    ],
)
def test_what_does_not_run_saves_nothing(events: tuple, words: str) -> None:
    """Queued, cancelling and ended operations are told apart, each with what to do."""
    decision = now(story(*events))
    assert code(decision) is RejectionCode.NOT_RUNNING
    assert words in decision.fix


@pytest.mark.parametrize("decide", [now, pin, unpin, delete])
def test_an_unknown_operation_is_refused(decide) -> None:
    """With its id."""
    assert code(decide(None)) is RejectionCode.OPERATION_NOT_FOUND


@pytest.mark.parametrize("events", [RUNNING, ENDED])
def test_a_checkpoint_is_pinned_whatever_its_operation_does(events: tuple) -> None:
    """Also while it runs; the fold shows it, and the second time nothing changes."""
    assert pin(story(*events)) == PINNED
    state = story(*events, PINNED)
    assert state.facts.checkpoints["cp-1"].pinned
    assert code(pin(state)) is RejectionCode.PIN_UNCHANGED
    assert unpin(state) == UNPINNED
    state = story(*events, PINNED, UNPINNED)
    assert not state.facts.checkpoints["cp-1"].pinned
    assert code(unpin(state)) is RejectionCode.PIN_UNCHANGED


def test_a_checkpoint_of_an_ended_operation_is_deleted() -> None:
    """Nothing goes on from it then, and it cannot be pinned or deleted again."""
    decision = delete(story(*ENDED))
    assert isinstance(decision, CheckpointDeleted)
    assert (decision.checkpoint_id, decision.reason, decision.requested_by) == ("cp-1", "old", "/test")
    assert decision.manifest_key is not None
    assert decision.size_bytes > 0
    state = story(*ENDED, DELETED)
    assert state.facts.checkpoints["cp-1"].status is CheckpointStatus.DELETED
    assert [each.checkpoint_id for each in state.facts.kept_newest_first] == ["cp-2"]
    assert code(choose_origin(state.facts, "cp-1")) is RejectionCode.CHECKPOINT_NOT_FOUND
    assert code(pin(state)) is RejectionCode.CHECKPOINT_NOT_FOUND
    refused = delete(state)
    assert code(refused) is RejectionCode.CHECKPOINT_NOT_FOUND
    assert "cp-2" in refused.fix


def test_the_newest_one_deleted_leaves_the_one_before_as_the_newest() -> None:
    """A resume without a choice goes on from what is kept."""
    state = story(*ENDED, CheckpointDeleted(checkpoint_id="cp-2", requested_by="/test"))
    newest = state.facts.newest_kept
    assert newest is not None
    assert newest.checkpoint_id == "cp-1"


@pytest.mark.parametrize(
    "events",
    [(requested(),), RUNNING, (*RUNNING, cancel_requested())],
    ids=["queued", "running", "cancelling"],
)
def test_nothing_is_deleted_of_what_has_not_ended(events: tuple) -> None:
    """Whatever has not ended may have to go on from any of its checkpoints."""
    state = story(*events) if len(events) > 1 else story(requested(), claimed(), snapshot("cp-1", 50))
    assert code(delete(state)) is RejectionCode.CHECKPOINT_IN_USE


def test_nothing_is_deleted_while_someone_goes_on_from_it() -> None:
    """The one that does is named."""
    decision = delete(story(*ENDED), living=CHILD)
    assert code(decision) is RejectionCode.CHECKPOINT_IN_USE
    assert CHILD in decision.message


def test_a_pinned_one_is_not_deleted() -> None:
    """Before it is unpinned; the command for that is named."""
    decision = delete(story(*ENDED, PINNED))
    assert code(decision) is RejectionCode.CHECKPOINT_PINNED
    assert "milepost checkpoints unpin cp-1" in decision.fix
    assert isinstance(delete(story(*ENDED, PINNED, UNPINNED)), CheckpointDeleted)


def test_a_refused_one_may_be_deleted_and_not_pinned() -> None:
    """It takes room and is good for nothing."""
    state = story(requested(), claimed(), snapshot("cp-1", 50), refused_checkpoint("cp-1"), completed())
    assert isinstance(delete(state), CheckpointDeleted)
    assert code(pin(state)) is RejectionCode.CHECKPOINT_NOT_FOUND


@pytest.mark.parametrize(("decide", "event"), [(pin, PINNED), (delete, DELETED)])
def test_the_same_command_again_is_a_repetition(decide, event) -> None:
    """Its own event is in the log already."""
    state = story(*ENDED, event, commands={len(ENDED): ME.command_id})
    same = CommandIdentity(ME.command_id, state.facts.commands[ME.command_id])
    assert decide(state, identity=same) == Repeated(OPERATION)
