"""Decisions about commands: one test for each outcome."""

from datetime import timedelta

import pytest
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import CancelOperation, ResumeOperation, RunOptions
from milepost_contracts.events import CancelRequested, Requested, Resumed
from milepost_contracts.failures import RejectionCode
from milepost_orchestrator.domain.decisions import decide_cancel, decide_start
from milepost_orchestrator.domain.lineage_decisions import Kin, decide_resume
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated
from pydantic import ValidationError

from tests.orchestrator.stories import (
    CHILD,
    EPOCH,
    OPERATION,
    artifact,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    failed,
    refused_checkpoint,
    requested,
    resumed,
    snapshot,
    story,
)

pytestmark = pytest.mark.unit
ME = CommandIdentity("cmd-1", "ev-mine")
ORIGIN = CheckpointOrigin(
    operation_id="op-parent",
    checkpoint_id="cp-origin",
    unit=30,
    artifacts=(artifact(),),
    fingerprint={"counter": "1"},
)
ENDED = story(requested(), claimed(), snapshot("cp-1", 50), snapshot("cp-2", 60), cancelled(unit=60))


def cancel(
    state: Operation | None, at_unit: int | None = None, identity: CommandIdentity = ME, **fields: object
):
    command = CancelOperation.model_validate({"operation_id": OPERATION, "at_unit": at_unit, **fields})
    return decide_cancel(state, command, identity, "/test", EPOCH)


def resume(
    state: Operation | None, *, last_child: Operation | None = None, child=None, identity=ME, **fields
):
    command = ResumeOperation.model_validate({"operation_id": OPERATION, **fields})
    return decide_resume(state, command, identity, Kin(CHILD, child, last_child), "/test")


def code(decision: object) -> RejectionCode:
    assert isinstance(decision, Rejection), decision
    assert decision.message
    assert decision.fix
    return decision.code


# --- start ----------------------------------------------------------------------------------------


def test_start_is_requested() -> None:
    """A start with a new id becomes its request."""
    assert decide_start(None, ME, requested()) == requested()


def test_start_again_is_a_repetition() -> None:
    """The same command under the same id took effect before."""
    state = story(requested())
    same = CommandIdentity("cmd-1", state.facts.requested_event_id)
    assert decide_start(state, same, requested()) == Repeated(OPERATION)


def test_start_with_a_used_id_is_refused() -> None:
    """Another content under a used id is another command."""
    assert code(decide_start(story(requested()), ME, requested())) is RejectionCode.COMMAND_ID_REUSED


# --- cancel ---------------------------------------------------------------------------------------


def test_cancel_of_nothing_is_refused() -> None:
    """There is no such operation."""
    assert code(cancel(None)) is RejectionCode.OPERATION_NOT_FOUND


@pytest.mark.parametrize("events", [(requested(),), (requested(), claimed())])
def test_cancel_of_a_live_operation(events: tuple) -> None:
    """A queued or running operation can be cancelled."""
    assert isinstance(cancel(story(*events)), CancelRequested)


@pytest.mark.parametrize("end", [cancelled(), completed(), failed()])
def test_cancel_after_the_end_is_refused(end: object) -> None:
    """What has ended cannot be cancelled."""
    assert code(cancel(story(requested(), claimed(), end))) is RejectionCode.NOT_CANCELLABLE


@pytest.mark.parametrize(
    ("before", "now", "accepted"),
    [
        (None, None, False),
        (None, 60, False),
        (60, 70, False),
        (60, 60, False),
        (60, 50, True),
        (60, None, True),
    ],
)
def test_cancel_while_cancelling(before: int | None, now: int | None, accepted: bool) -> None:
    """Only a cancel that stops earlier is accepted."""
    decision = cancel(story(requested(), claimed(), cancel_requested(before)), now)
    if accepted:
        assert decision == CancelRequested(at_unit=now, before="cancelling", requested_by="/test")
    else:
        assert code(decision) is RejectionCode.ALREADY_CANCELLING


def test_cancel_again_is_a_repetition() -> None:
    """The same cancel under the same id took effect before, also when the operation has ended since."""
    state = story(requested(), claimed(), cancel_requested(), cancelled(), commands={2: "cmd-1"})
    same = CommandIdentity("cmd-1", state.facts.commands["cmd-1"])
    assert cancel(state, identity=same) == Repeated(OPERATION)
    assert code(cancel(state)) is RejectionCode.COMMAND_ID_REUSED


def test_a_deadline_counts_from_the_decision() -> None:
    """The event holds the moment; force is the moment of the request itself."""
    running = story(requested(), claimed())
    limited = cancel(running, deadline_seconds=30)
    forced = cancel(running, force=True)
    assert isinstance(limited, CancelRequested)
    assert isinstance(forced, CancelRequested)
    assert (limited.deadline_at, limited.force) == (EPOCH + timedelta(seconds=30), False)
    assert (forced.deadline_at, forced.force) == (EPOCH, True)


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({}, False),
        ({"deadline_seconds": 20}, True),
        ({"deadline_seconds": 30}, False),
        ({"deadline_seconds": 40}, False),
        ({"force": True}, True),
    ],
)
def test_only_a_sooner_end_changes_a_cancel(fields: dict[str, object], accepted: bool) -> None:
    """While one with a deadline in 30 seconds is under way."""
    cancelling = story(requested(), claimed(), cancel_requested(deadline_at=EPOCH + timedelta(seconds=30)))
    decision = cancel(cancelling, **fields)
    if accepted:
        assert isinstance(decision, CancelRequested)
    else:
        assert code(decision) is RejectionCode.ALREADY_CANCELLING


@pytest.mark.parametrize(
    "fields", [{"at_unit": 5, "force": True}, {"at_unit": 5, "deadline_seconds": 1}, {"deadline_seconds": 0}]
)
def test_a_cancel_ends_in_one_way(fields: dict[str, object]) -> None:
    """A unit, a deadline and force exclude each other, and a deadline is some time."""
    with pytest.raises(ValidationError):
        CancelOperation.model_validate({"operation_id": OPERATION, **fields})


# --- resume ---------------------------------------------------------------------------------------


def test_resume_of_nothing_is_refused() -> None:
    """There is no such operation."""
    assert code(resume(None)) is RejectionCode.OPERATION_NOT_FOUND


@pytest.mark.parametrize(
    "events",
    [
        (requested(),),
        (requested(), claimed()),
        (requested(), claimed(), cancel_requested()),
        (requested(), claimed(), completed()),
    ],
)
def test_resume_of_what_is_not_cancelled_or_failed_is_refused(events: tuple) -> None:
    """Only cancelled and failed operations can be resumed."""
    assert code(resume(story(*events))) is RejectionCode.NOT_RESUMABLE


def test_resume_goes_on_from_the_newest_checkpoint() -> None:
    """The child carries the parent's spec, its place in the lineage and the whole origin; no second stop."""
    parent = story(
        requested(name="n", options=RunOptions(stop_at_unit=60, max_attempts=2)),
        claimed(),
        snapshot("cp-1", 50),
        snapshot("cp-2", 60),
        cancelled(),
    )
    decision = resume(parent)
    assert isinstance(decision, Resumed)
    assert (decision.child_id, decision.checkpoint_id) == (CHILD, "cp-2")
    child: Requested = decision.child
    assert (child.parent_id, child.root_id, child.name) == (OPERATION, OPERATION, "n")
    assert child.spec == parent.facts.requested.spec
    assert child.options == RunOptions(max_attempts=2)
    assert child.origin is not None
    assert (child.origin.unit, child.origin.artifacts) == (60, (artifact(),))


def test_resume_from_an_older_checkpoint_with_other_options() -> None:
    """Any kept checkpoint can be named, and given options are taken as they are."""
    decision = resume(ENDED, checkpoint_id="cp-1", name="again", options={"stop_at_unit": 70})
    assert isinstance(decision, Resumed)
    assert decision.child.origin.unit == 50
    assert decision.child.name == "again"
    assert decision.child.options == RunOptions(stop_at_unit=70)


def test_resume_without_own_checkpoints_goes_on_from_the_origin() -> None:
    """A child that saved nothing is resumed from where it began itself, also by that checkpoint's name."""
    parent = story(requested(parent_id="op-parent", root_id="op-root", origin=ORIGIN), claimed(), failed())
    for decision in (resume(parent), resume(parent, checkpoint_id="cp-origin")):
        assert isinstance(decision, Resumed)
        assert decision.child.origin == ORIGIN
        assert decision.child.root_id == "op-root"


def test_resume_without_any_checkpoint_begins_anew() -> None:
    """There is nothing to go on from, so the child begins at unit 0."""
    decision = resume(story(requested(), cancel_requested(), cancelled(attempt=0, unit=0)))
    assert isinstance(decision, Resumed)
    assert decision.child.origin is None
    assert decision.checkpoint_id is None


def test_resume_from_an_unknown_checkpoint_is_refused() -> None:
    """The fix names the checkpoints there are."""
    decision = resume(ENDED, checkpoint_id="cp-9")
    assert code(decision) is RejectionCode.CHECKPOINT_NOT_FOUND
    assert "cp-2, cp-1" in decision.fix


def test_resume_from_a_refused_checkpoint_is_refused() -> None:
    """The artifacts that are missing are named."""
    parent = story(
        requested(), claimed(), snapshot("cp-1"), snapshot("cp-2", 60), failed(), refused_checkpoint("cp-2")
    )
    decision = resume(parent, checkpoint_id="cp-2")
    assert code(decision) is RejectionCode.ARTIFACTS_MISSING
    assert [problem.field for problem in decision.problems] == ["state.json"]
    assert "cp-1" in decision.fix
    assert resume(parent).checkpoint_id == "cp-1"


@pytest.mark.parametrize("last_child", [None, story(requested()), story(requested(), claimed())])
def test_resume_while_a_child_lives_is_refused(last_child: Operation | None) -> None:
    """The child that won is named, also when it is only announced."""
    parent = story(requested(), claimed(), snapshot(), cancelled(), resumed())
    decision = resume(parent, last_child=last_child)
    assert code(decision) is RejectionCode.RESUME_IN_PROGRESS
    assert decision.operation_id == CHILD


def test_resume_after_the_child_ended_is_accepted() -> None:
    """Once the child has ended the parent can be resumed again."""
    parent = story(requested(), claimed(), snapshot(), cancelled(), resumed("op-first"))
    assert isinstance(resume(parent, last_child=story(requested(), claimed(), failed())), Resumed)


def test_resume_again_is_a_repetition() -> None:
    """The same resume under the same id names the child that it made."""
    parent = story(requested(), claimed(), snapshot(), cancelled(), resumed(), commands={4: "cmd-1"})
    same = CommandIdentity("cmd-1", parent.facts.commands["cmd-1"])
    assert resume(parent, identity=same) == Repeated(CHILD)
    assert code(resume(parent)) is RejectionCode.COMMAND_ID_REUSED


def test_resume_with_the_id_of_another_operations_command_is_refused() -> None:
    """The id stands for an operation that this resume did not make."""
    assert code(resume(ENDED, child=story(requested()))) is RejectionCode.COMMAND_ID_REUSED
