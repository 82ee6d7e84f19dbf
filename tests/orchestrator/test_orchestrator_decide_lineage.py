"""Decisions about forks and retries: one test for each outcome."""

import pytest
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import ForkOperation, ResumeOperation, RetryOperation, RunOptions
from milepost_contracts.events import Resumed
from milepost_contracts.failures import RejectionCode
from milepost_contracts.lineage import Relation, SettingChange
from milepost_orchestrator.domain.forking import Amended, amend, merged
from milepost_orchestrator.domain.lineage_decisions import Kin, decide_fork, decide_resume, decide_retry
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated

from tests.orchestrator.stories import (
    CHILD,
    OPERATION,
    artifact,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    failed,
    requested,
    resumed,
    snapshot,
    story,
)

pytestmark = pytest.mark.unit
ME = CommandIdentity("cmd-1", "ev-mine")
CHANGE = SettingChange(field="rate", before=1, after=2)
AMENDED = Amended({"units": 100, "rate": 2}, (artifact(),), (CHANGE,), ("rate",))
ORIGIN = CheckpointOrigin(
    operation_id="op-parent", checkpoint_id="cp-0", unit=30, artifacts=(artifact(),), fingerprint={}
)
RULES = {"rate": ("rate",), "early": ("spec.early",)}


def fork(state: Operation | None, *, amended=AMENDED, child=None, identity=ME, **fields):
    command = ForkOperation.model_validate({"operation_id": OPERATION, "changes": {"rate": 2}, **fields})
    return decide_fork(state, command, identity, Kin(CHILD, child), amended=amended, requested_by="/test")


def retry(state: Operation | None, *, last_child=None, identity=ME, **fields):
    command = RetryOperation.model_validate({"operation_id": OPERATION, **fields})
    return decide_retry(state, command, identity, Kin(CHILD, None, last_child), "/test")


def code(decision: object) -> RejectionCode:
    assert isinstance(decision, Rejection), decision
    assert decision.message
    assert decision.fix
    return decision.code


# --- fork -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end", [(), (cancel_requested(),), (cancelled(),), (failed(),), (completed(),)], ids=len
)
def test_fork_of_anything_with_a_checkpoint(end: tuple) -> None:
    """Running, cancelled, failed or completed: the child has the changed spec, and the change is recorded."""
    decision = fork(story(requested(), claimed(), snapshot("cp-1", 50), snapshot("cp-2", 60), *end))
    assert isinstance(decision, Resumed)
    assert (decision.relation, decision.checkpoint_id) == (Relation.FORK, "cp-2")
    child = decision.child
    assert (child.parent_id, child.root_id, child.relation) == (OPERATION, OPERATION, Relation.FORK)
    assert (child.spec, child.inputs) == (AMENDED.spec, AMENDED.inputs)
    assert (child.changes, child.changed_entries) == ((CHANGE,), ("rate",))


def test_fork_from_an_older_checkpoint() -> None:
    """Any kept checkpoint can be named; another one is refused with those there are."""
    parent = story(requested(), claimed(), snapshot("cp-1", 50), snapshot("cp-2", 60), completed())
    assert fork(parent, checkpoint_id="cp-1").child.origin.unit == 50
    refused = fork(parent, checkpoint_id="cp-9")
    assert code(refused) is RejectionCode.CHECKPOINT_NOT_FOUND
    assert "cp-2, cp-1" in refused.fix


def test_fork_takes_nothing_from_its_parent() -> None:
    """A parent with a live child can be forked, as often as one likes; a forked parent can be resumed."""
    parent = story(requested(), claimed(), snapshot(), cancelled(), resumed("op-first"))
    assert isinstance(fork(parent), Resumed)
    fork_event = fork(parent).model_copy(update={"child_id": "op-fork"})
    forked = story(requested(), claimed(), snapshot(), cancelled(), fork_event)
    assert (forked.facts.child_id, forked.facts.children) == (None, ("op-fork",))
    command = ResumeOperation(operation_id=OPERATION)
    assert isinstance(decide_resume(forked, command, ME, Kin(CHILD), "/test"), Resumed)


def test_fork_without_a_checkpoint_is_refused() -> None:
    """There is nothing to go on from; the way out is a new start."""
    assert code(fork(story(requested(), claimed()))) is RejectionCode.NOTHING_TO_FORK
    assert code(fork(None)) is RejectionCode.OPERATION_NOT_FOUND


def test_fork_again_is_a_repetition() -> None:
    """The same fork under the same id names its child; another content under that id is refused."""
    parent = story(requested(), claimed(), snapshot(), completed(), resumed(), commands={4: "cmd-1"})
    same = CommandIdentity("cmd-1", parent.facts.commands["cmd-1"])
    assert fork(parent, identity=same) == Repeated(CHILD)
    assert code(fork(parent)) is RejectionCode.COMMAND_ID_REUSED
    assert code(fork(story(requested(), claimed(), snapshot()), child=parent)) is (
        RejectionCode.COMMAND_ID_REUSED
    )


def test_what_a_fork_changed_is_compared_again_once_it_has_a_checkpoint_of_its_own() -> None:
    """A resume from the fork's own checkpoint expects no differences; one from its origin expects the fork's."""
    begun = requested(origin=ORIGIN, changed_entries=("rate",), changes=(CHANGE,))
    command = ResumeOperation(operation_id=OPERATION)
    from_origin = decide_resume(story(begun, claimed(), failed()), command, ME, Kin(CHILD), "/test")
    own = decide_resume(story(begun, claimed(), snapshot(), failed()), command, ME, Kin(CHILD), "/test")
    assert (from_origin.child.origin.checkpoint_id, from_origin.child.changed_entries) == ("cp-0", ("rate",))
    assert (own.child.origin.checkpoint_id, own.child.changed_entries) == ("cp-1", ())
    assert from_origin.child.changes == own.child.changes == ()
    again = fork(story(begun, claimed(), failed()), amended=Amended({}, (), (CHANGE,), ("seconds",)))
    assert again.child.changed_entries == ("rate", "seconds")


# --- what a fork may change -----------------------------------------------------------------------


def test_changes_are_merged() -> None:
    """Objects are merged, null removes, everything else replaces."""
    spec = {"a": {"b": 1, "c": [1, 2]}, "d": 3, "e": 4}
    changes = {"a": {"c": [9], "n": {"m": None, "k": 1}}, "d": None, "e": {"f": 1}}
    assert merged(spec, changes) == {"a": {"b": 1, "c": [9], "n": {"k": 1}}, "e": {"f": 1}}
    assert spec == {"a": {"b": 1, "c": [1, 2]}, "d": 3, "e": 4}


def test_every_difference_is_named_with_what_it_means_for_the_fingerprint() -> None:
    """Changeable fields, also beneath one and from nothing to something."""
    before, after = {"rate": 1, "early": None, "x": [1]}, {"rate": 2, "early": {"patience": 3}, "x": [1]}
    found = amend(before, after, (), RULES, "counter")
    assert isinstance(found, Amended)
    assert [(each.field, each.before, each.after) for each in found.changes] == [
        ("early", None, {"patience": 3}),
        ("rate", 1, 2),
    ]
    assert found.entries == ("rate", "spec.early")
    deeper = amend({"early": {"patience": 3}}, {"early": {"patience": 4}}, (), RULES, "counter")
    assert [each.field for each in deeper.changes] == ["early.patience"]
    assert [each.field for each in amend({"rate": 1}, {"rate": 1.0}, (), RULES, "c").changes] == ["rate"]


def test_changes_that_the_kind_does_not_allow_are_all_named() -> None:
    """With what may change instead; and changes that change nothing are no fork."""
    refused = amend({"rate": 1, "x": 1, "y": 1}, {"rate": 2, "x": 2, "y": 2}, (), RULES, "counter")
    assert code(refused) is RejectionCode.NOT_CHANGEABLE
    assert [problem.field for problem in refused.problems] == ["changes.x", "changes.y"]
    assert "early, rate" in refused.fix
    assert code(amend({"rate": 1}, {"rate": 2}, (), {}, "counter")) is RejectionCode.NOT_CHANGEABLE
    assert code(amend({"rate": 1}, {"rate": 1}, (), RULES, "counter")) is RejectionCode.NOTHING_CHANGED


# --- retry ----------------------------------------------------------------------------------------


def test_retry_begins_where_the_failed_one_began() -> None:
    """At unit 0 or at its own origin, with all of its options; its own checkpoints are not used."""
    options = RunOptions(stop_at_unit=90)
    decision = retry(story(requested(options=options), claimed(), snapshot(), failed()))
    assert isinstance(decision, Resumed)
    assert (decision.relation, decision.checkpoint_id, decision.child.origin) == (Relation.RETRY, None, None)
    assert decision.child.options == options
    resumed_one = story(requested(origin=ORIGIN, changed_entries=("rate",)), claimed(), snapshot(), failed())
    again = retry(resumed_one)
    assert (again.child.origin, again.child.changed_entries) == (ORIGIN, ("rate",))


@pytest.mark.parametrize("end", [(), (cancelled(),), (completed(),)], ids=len)
def test_retry_of_what_has_not_failed_is_refused(end: tuple) -> None:
    """Each with its own way out."""
    assert code(retry(story(requested(), claimed(), *end))) is RejectionCode.NOT_RETRYABLE
    assert code(retry(None)) is RejectionCode.OPERATION_NOT_FOUND


def test_retry_while_a_child_lives_is_refused() -> None:
    """One child at a time goes on in a failed operation's place."""
    parent = story(requested(), claimed(), failed(), resumed())
    assert code(retry(parent, last_child=story(requested()))) is RejectionCode.RESUME_IN_PROGRESS
    assert isinstance(retry(parent, last_child=story(requested(), claimed(), failed())), Resumed)
