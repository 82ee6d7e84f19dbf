"""The fold of an operation's events."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.events import Archived
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.row_making import operation_row
from milepost_orchestrator.domain.evolution import evolve, fold
from milepost_orchestrator.domain.operation import (
    TERMINAL,
    AttemptOutcome,
    Cancelled,
    Cancelling,
    CheckpointStatus,
    Completed,
    Failed,
    Queued,
    Running,
    Status,
    status_of,
)

from tests.orchestrator.stories import (
    CHILD,
    EPOCH,
    archived,
    attempt_lost,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    failed,
    log_entries,
    progress,
    recorded_checkpoint,
    refused_checkpoint,
    released,
    requested,
    resumed,
    snapshot,
    started,
    story,
)

pytestmark = pytest.mark.unit

EVENTS = (
    requested(),
    claimed(1),
    claimed(2, "w-2"),
    started(1),
    started(2),
    progress(10),
    progress(20, attempt=2),
    snapshot("cp-1", 50),
    snapshot("cp-2", 60, attempt=2),
    recorded_checkpoint("cp-1"),
    refused_checkpoint("cp-2"),
    recorded_checkpoint("cp-9"),
    cancel_requested(),
    cancel_requested(at_unit=70),
    resumed(),
    released(),
    attempt_lost(),
    cancelled(),
    completed(),
    failed(),
)


@pytest.mark.parametrize(
    ("events", "state", "status"),
    [
        ((requested(),), Queued, Status.QUEUED),
        ((requested(), claimed()), Running, Status.RUNNING),
        ((requested(), cancel_requested()), Cancelling, Status.CANCELLING),
        ((requested(), claimed(), cancel_requested()), Cancelling, Status.CANCELLING),
        ((requested(), cancel_requested(), claimed()), Cancelling, Status.CANCELLING),
        ((requested(), claimed(), released()), Queued, Status.QUEUED),
        ((requested(), claimed(), attempt_lost()), Queued, Status.QUEUED),
        ((requested(), claimed(), cancel_requested(), attempt_lost()), Cancelling, Status.CANCELLING),
        ((requested(), claimed(), cancelled()), Cancelled, Status.CANCELLED),
        ((requested(), claimed(), completed()), Completed, Status.COMPLETED),
        ((requested(), claimed(), failed()), Failed, Status.FAILED),
        ((requested(), claimed(), completed(), cancel_requested()), Completed, Status.COMPLETED),
        ((requested(), claimed(), completed(), failed(), cancelled()), Completed, Status.COMPLETED),
    ],
)
def test_states_follow_from_events(events: tuple, state: type, status: Status) -> None:
    """Each sequence of events leads to its state, and nothing leads out of a terminal one."""
    found = story(*events)
    assert type(found) is state
    assert status_of(found) is status


def test_claim_over_a_live_attempt_ends_that_one_as_lost() -> None:
    """A second claim means that the first attempt was lost."""
    facts = story(requested(), claimed(1), started(1), progress(10), claimed(2, "w-2")).facts
    assert facts.attempts[1].outcome is AttemptOutcome.LOST
    assert facts.attempts[1].unit == 10
    assert facts.owner is facts.attempts[2]
    assert facts.attempts_lost == 1


def test_checkpoint_goes_on_record_also_after_the_end() -> None:
    """A late ``checkpoint-recorded`` settles the checkpoint of an operation that has ended."""
    facts = story(requested(), claimed(), snapshot(), cancelled(), recorded_checkpoint()).facts
    assert facts.checkpoints["cp-1"].status is CheckpointStatus.RECORDED
    assert facts.checkpoints["cp-1"].manifest_key == "k"


def test_settled_checkpoint_stays_as_it_is() -> None:
    """A checkpoint that was recorded is not refused afterwards."""
    facts = story(requested(), claimed(), snapshot(), recorded_checkpoint(), refused_checkpoint()).facts
    assert facts.checkpoints["cp-1"].status is CheckpointStatus.RECORDED


def test_newest_kept_checkpoint_is_the_highest_that_was_not_refused() -> None:
    """A refused checkpoint gives way to the one before it."""
    facts = story(
        requested(), claimed(), snapshot("cp-1", 50), snapshot("cp-2", 60), refused_checkpoint("cp-2")
    ).facts
    assert facts.newest_kept is facts.checkpoints["cp-1"]
    assert facts.shown_checkpoint_id == "cp-1"


def test_earlier_cancel_replaces_a_later_one() -> None:
    """Of two cancels the one that stops earlier stands."""
    assert story(requested(), cancel_requested(70), cancel_requested(60)).at_unit == 60
    assert story(requested(), cancel_requested(60), cancel_requested(70)).at_unit == 60
    assert story(requested(), cancel_requested(60), cancel_requested()).at_unit is None
    assert story(requested(), cancel_requested(), cancel_requested(60)).at_unit is None


def test_resume_is_remembered_by_the_parent() -> None:
    """The parent knows its last child and stays what it was."""
    state = story(requested(), claimed(), snapshot(), cancelled(), resumed(), commands={4: "cmd-1"})
    assert isinstance(state, Cancelled)
    assert state.facts.child_id == CHILD
    assert set(state.facts.commands) == {"cmd-1"}


def test_last_sequences_of_both_sides_are_kept() -> None:
    """Each side's position is that of its own last event."""
    facts = story(requested(), claimed(), cancel_requested(), progress(5)).facts
    assert (facts.control_sequence, facts.run_sequence, facts.sequence) == (3, 4, 4)


def test_nothing_is_known_before_the_request() -> None:
    """Events without a request lead to no operation."""
    entries = [recorded(entry) for entry in log_entries(claimed(), progress(3))]
    assert fold(entries) is None


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_any_order_of_events_can_be_folded(events: list) -> None:
    """Whatever comes in whatever order: no error, positions rise, terminal states stay, one owner at most."""
    state = None
    for entry in log_entries(*events):
        before, state = state, evolve(state, recorded(entry))
        assert before is None or state is not None
        if state is None:
            continue
        assert state.facts.sequence == entry.sequence
        assert sum(attempt.outcome is None for attempt in state.facts.attempts.values()) <= 2
        if isinstance(before, TERMINAL):
            assert type(state) is type(before)
            assert state.facts.unit == before.facts.unit


@given(st.lists(st.sampled_from(EVENTS), max_size=30), st.integers(0, 30))
def test_fold_can_be_cut_anywhere(events: list, cut: int) -> None:
    """Folding in two parts gives what folding at once gives."""
    entries = [recorded(entry) for entry in log_entries(requested(), *events)]
    assert fold(entries[cut:], fold(entries[:cut])) == fold(entries)


@pytest.mark.parametrize(
    ("events", "unit", "saved"),
    [
        ((requested(), claimed(), started(), progress(10)), 10, None),
        ((requested(), claimed(), started(), snapshot("cp-1", 50), progress(60)), 60, 4),
        ((requested(), claimed(), started(), snapshot("cp-1", 50), snapshot("cp-2", 60)), 60, 5),
        ((requested(), claimed(), started(), completed(), archived()), 100, None),
        (
            (
                *(requested(), claimed(), started(), snapshot("cp-1", 50), snapshot("cp-2", 60)),
                *(refused_checkpoint("cp-2"), cancelled(), progress(99)),
            ),
            50,
            4,
        ),
    ],
)
def test_a_row_says_when_something_happened_last_and_what_is_saved(
    events: tuple, unit: int, saved: int | None
) -> None:
    """The last event counts, progress too, but not where it is kept; of checkpoints the one to go on from."""
    row = operation_row(story(*events))
    assert row.unit == unit
    assert row.last_event_at == EPOCH + timedelta(
        seconds=sum(not isinstance(each, Archived) for each in events)
    )
    assert row.newest_checkpoint_at == (EPOCH + timedelta(seconds=saved) if saved else None)
