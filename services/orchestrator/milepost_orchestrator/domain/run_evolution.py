"""What the owner's words do to an operation that has not ended: attempts, their checkpoints, and the end."""

from dataclasses import replace
from datetime import datetime
from typing import TypeAlias, assert_never

from milepost_contracts import events
from milepost_contracts.failures import Failure, FailureCode

from milepost_orchestrator.domain.operation import (
    Attempt,
    AttemptOutcome,
    Cancelled,
    Cancelling,
    Checkpoint,
    Completed,
    Facts,
    Failed,
    Operation,
    Queued,
    Running,
)

RunEvent: TypeAlias = (
    events.Claimed
    | events.Started
    | events.StateSnapshot
    | events.Cancelled
    | events.Completed
    | events.Failed
    | events.Released
    | events.AttemptLost
)
_SUPERSEDED = Failure(code=FailureCode.LEASE_LOST, message="another worker claimed the operation")


def evolve_run(
    state: Queued | Running | Cancelling, event: RunEvent, time: datetime, sequence: int
) -> Operation:
    """Return the state after a run event that is not progress."""
    facts = state.facts
    match event:
        case events.Claimed():
            return _owned(state, _claim(facts, event, time))
        case events.Started():
            return _owned(state, _start(facts, event, time))
        case events.StateSnapshot():
            return replace(state, facts=_snapshot(facts, event, time, sequence))
        case events.Released():
            released = _end(
                facts, event.attempt, AttemptOutcome.RELEASED, time, event.unit, reason=event.reason
            )
            return _unowned(state, replace(released, unit=event.unit))
        case events.AttemptLost():
            return _unowned(
                state, _end(facts, event.attempt, AttemptOutcome.LOST, time, failure=event.failure)
            )
        case events.Cancelled():
            ended = _end(
                facts, event.attempt, AttemptOutcome.CANCELLED, time, event.unit, reason=event.reason
            )
            return Cancelled(_final(ended, event.unit), time, event.reason)
        case events.Completed():
            ended = _end(facts, event.attempt, AttemptOutcome.COMPLETED, time, event.unit)
            return Completed(_final(ended, event.unit), time, event.artifacts, event.summary)
        case events.Failed():
            ended = _end(facts, event.attempt, AttemptOutcome.FAILED, time, event.unit, failure=event.failure)
            return Failed(_final(ended, event.unit), time, event.failure)
        case _:
            assert_never(event)


def _owned(state: Queued | Running | Cancelling, facts: Facts) -> Operation:
    return replace(state, facts=facts) if isinstance(state, Cancelling) else Running(facts)


def _unowned(state: Queued | Running | Cancelling, facts: Facts) -> Operation:
    facts = replace(facts, units_per_second=None)
    return replace(state, facts=facts) if isinstance(state, Cancelling) else Queued(facts)


def _final(facts: Facts, unit: int) -> Facts:
    return replace(facts, unit=unit, units_per_second=None)


def _claim(facts: Facts, event: events.Claimed, time: datetime) -> Facts:
    """A claim ends whatever attempt was open: its worker lost the operation without saying so."""
    owner = facts.owner
    if owner is not None and owner.attempt != event.attempt:
        facts = _end(facts, owner.attempt, AttemptOutcome.LOST, time, failure=_SUPERSEDED)
    attempt = Attempt(
        attempt=event.attempt,
        worker_id=event.worker_id,
        host=event.host,
        pid=event.pid,
        lease_seconds=event.lease_seconds,
        claimed_at=time,
    )
    return replace(_with_attempt(facts, attempt), units_per_second=None)


def _start(facts: Facts, event: events.Started, time: datetime) -> Facts:
    attempt = facts.attempts.get(event.attempt)
    if attempt is not None:
        started = replace(
            attempt,
            started_at=time,
            start_unit=event.unit,
            checkpoint_id=event.checkpoint_id,
            environment_differences=event.environment_differences,
        )
        facts = _with_attempt(facts, started)
    return replace(
        facts,
        unit=event.unit,
        total_units=event.total_units,
        unit_name=event.unit_name,
        started_at=facts.started_at or time,
    )


def _snapshot(facts: Facts, event: events.StateSnapshot, time: datetime, sequence: int) -> Facts:
    facts = replace(
        facts,
        unit=max(facts.unit, event.unit),
        total_units=event.total_units,
    )
    if event.checkpoint_id in facts.checkpoints:
        return facts
    checkpoint = Checkpoint(
        checkpoint_id=event.checkpoint_id,
        attempt=event.attempt,
        unit=event.unit,
        total_units=event.total_units,
        reason=event.reason,
        artifacts=event.artifacts,
        fingerprint=event.fingerprint,
        summary=event.summary,
        saved_at=time,
        sequence=sequence,
    )
    return replace(facts, checkpoints={**facts.checkpoints, event.checkpoint_id: checkpoint})


def _end(
    facts: Facts,
    number: int,
    outcome: AttemptOutcome,
    time: datetime,
    unit: int | None = None,
    *,
    failure: Failure | None = None,
    reason: str | None = None,
) -> Facts:
    attempt = facts.attempts.get(number)
    if attempt is None or attempt.outcome is not None:
        return facts
    ended = replace(
        attempt,
        ended_at=time,
        outcome=outcome,
        unit=facts.unit if unit is None else unit,
        failure=failure,
        reason=reason,
    )
    return _with_attempt(facts, ended)


def _with_attempt(facts: Facts, attempt: Attempt) -> Facts:
    return replace(facts, attempts={**facts.attempts, attempt.attempt: attempt})
