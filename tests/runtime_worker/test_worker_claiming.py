"""Claiming is a pure decision over a pure fold."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointOrigin, CheckpointReason
from milepost_contracts.commands import RunOptions
from milepost_contracts.events import (
    AttemptLost,
    Cancelled,
    CancelRequested,
    CheckpointRefused,
    Claimed,
    Completed,
    Event,
    Failed,
    Progress,
    Released,
    Requested,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.messages import envelop_event
from milepost_runtime.event_log import LogEntry
from milepost_runtime.worker.claiming import (
    AlreadyEnded,
    AskOwner,
    Claim,
    Exhausted,
    NotRequested,
    claim_or_exhausted,
    decide_claim,
)
from milepost_runtime.worker.run_view import RunView, fold

pytestmark = pytest.mark.unit

FAILURE = Failure(code=FailureCode.CHILD_DIED, message="gone")
ARTIFACT = ArtifactReference(name="state.json", digest="sha256:" + "0" * 64, size_bytes=1)
ORIGIN = CheckpointOrigin(
    operation_id="op-parent", checkpoint_id="cp-origin", unit=5, artifacts=(ARTIFACT,), fingerprint={}
)


def requested(max_attempts: int = 5, origin: CheckpointOrigin | None = None) -> Requested:
    return Requested(
        kind="counter",
        spec={},
        options=RunOptions(max_attempts=max_attempts),
        root_id="op-1",
        origin=origin,
    )


def claimed(attempt: int) -> Claimed:
    return Claimed(attempt=attempt, worker_id="w-1", host="h", pid=1, lease_seconds=10)


def snapshot(checkpoint_id: str, unit: int, attempt: int = 1) -> StateSnapshot:
    return StateSnapshot(
        attempt=attempt,
        checkpoint_id=checkpoint_id,
        unit=unit,
        total_units=100,
        reason=CheckpointReason.PERIODIC,
        artifacts=(ARTIFACT,),
        fingerprint={},
    )


def view_of(*events: Event) -> RunView:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return fold(
        LogEntry(
            sequence=number,
            operation_id="op-1",
            envelope=envelop_event(event, event_id=f"e{number}", operation_id="op-1", source="/t", time=now),
            event=event,
        )
        for number, event in enumerate(events, start=1)
    )


def test_queued_operation_is_claimed_as_its_first_attempt() -> None:
    """Nobody owned it yet."""
    assert decide_claim(view_of(requested())) == Claim(attempt=1)


def test_owned_operation_asks_its_owner_first() -> None:
    """The lease ran out, but the owner may only have been cut off."""
    assert decide_claim(view_of(requested(), claimed(1))) == AskOwner(attempt=2)


def test_silent_owner_counts_as_lost() -> None:
    """With two attempts allowed, two silent owners exhaust them."""
    once = view_of(requested(max_attempts=2), claimed(1))
    assert claim_or_exhausted(once) == Claim(attempt=2)
    twice = view_of(requested(max_attempts=2), claimed(1), claimed(2))
    assert claim_or_exhausted(twice) == Exhausted(attempts_lost=2)


def test_released_operation_costs_no_attempt() -> None:
    """A worker that shut down in order is no reason to give up."""
    released = Released(attempt=1, unit=3, checkpoint_id=None, reason="shutdown")
    view = view_of(requested(max_attempts=1), claimed(1), released)
    assert decide_claim(view) == Claim(attempt=2)


@pytest.mark.parametrize(
    "terminal",
    [
        Cancelled(attempt=1, unit=1, checkpoint_id=None),
        Completed(attempt=1, unit=1, artifacts=()),
        Failed(attempt=1, unit=1, failure=FAILURE),
    ],
)
def test_ended_operation_is_never_claimed(terminal: Event) -> None:
    """Only its work message is left to remove, whatever is heard afterwards."""
    late = CancelRequested()
    assert decide_claim(view_of(requested(), claimed(1), terminal, late)) == AlreadyEnded()


def test_unknown_operation_is_not_claimed() -> None:
    """Work without a request in the log is nobody's."""
    assert decide_claim(view_of()) == NotRequested()


def test_candidates_are_newest_first_then_the_origin() -> None:
    """Refused checkpoints are left out; the origin is the last resort."""
    refused = CheckpointRefused(checkpoint_id="cp-3", message="bad", artifacts=())
    view = view_of(
        requested(origin=ORIGIN),
        claimed(1),
        snapshot("cp-1", 10),
        snapshot("cp-2", 20),
        snapshot("cp-3", 30),
        refused,
        snapshot("cp-4", 20, attempt=2),
    )
    assert [candidate.checkpoint_id for candidate in view.candidates] == ["cp-4", "cp-2", "cp-1", "cp-origin"]


def test_the_earlier_of_two_cancels_stands() -> None:
    """A cancel at once overrides one at a unit, never the other way round."""
    at_once, at_ten, at_five = CancelRequested(), CancelRequested(at_unit=10), CancelRequested(at_unit=5)
    assert view_of(requested(), at_ten, at_once, at_five).cancel == at_once
    assert view_of(requested(), at_ten, at_five).cancel == at_five


EVENTS = st.sampled_from(
    [
        requested(),
        claimed(1),
        claimed(2),
        Started(attempt=1, unit=0, total_units=9, unit_name="step"),
        Progress(attempt=1, unit=1, total_units=9),
        snapshot("cp-1", 3),
        AttemptLost(attempt=1, failure=FAILURE),
        Released(attempt=1, unit=2, checkpoint_id=None, reason="r"),
        Completed(attempt=1, unit=9, artifacts=()),
        CancelRequested(at_unit=4),
    ]
)


@given(st.lists(EVENTS, max_size=12))
def test_any_order_of_events_folds_and_decides(events: list[Event]) -> None:
    """The fold is total, and an ended operation stays ended."""
    view = view_of(*events)
    decision = decide_claim(view)
    ended = any(isinstance(event, Completed) for event in events)
    asked = any(isinstance(event, Requested) for event in events)
    assert isinstance(decision, AlreadyEnded) == (ended and asked)
