"""Events in order, as tests tell them: ``story(requested(), claimed(), ...)`` with sequences and times."""

from datetime import UTC, datetime, timedelta

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.commands import RunOptions
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import (
    Archived,
    AttemptLost,
    Cancelled,
    CancelRequested,
    CheckpointRecorded,
    CheckpointRefused,
    Claimed,
    Completed,
    Event,
    Failed,
    Progress,
    Released,
    Requested,
    Resumed,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import Failure, FailureCode, Problem
from milepost_contracts.ids import event_id_of
from milepost_contracts.messages import envelop_event
from milepost_orchestrator.domain.evolution import Recorded, fold
from milepost_orchestrator.domain.operation import Operation
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.event_log import LogEntry

OPERATION = "op-aaaaaaaaaaaaaaaa"
CHILD = "op-bbbbbbbbbbbbbbbb"
EPOCH = datetime(2026, 11, 23, tzinfo=UTC)
STATE = b'{"unit":50}'


def artifact(content: bytes = STATE, name: str = "state.json") -> ArtifactReference:
    return ArtifactReference(
        name=name, digest=digest_of_bytes(content), size_bytes=len(content), media_type="application/json"
    )


def failure(words: str = "it stumbled") -> Failure:
    return Failure(code=FailureCode.ERROR, message=words)


def requested(operation_id: str = OPERATION, **fields: object) -> Requested:
    values = {"kind": "counter", "spec": {"units": 100}, "options": RunOptions(), "root_id": operation_id}
    return Requested.model_validate({**values, **fields})


def claimed(attempt: int = 1, worker_id: str = "w-1") -> Claimed:
    return Claimed(attempt=attempt, worker_id=worker_id, host="h", pid=7, lease_seconds=10.0)


def started(attempt: int = 1, unit: int = 0, differences: tuple[str, ...] = ()) -> Started:
    return Started(
        attempt=attempt,
        unit=unit,
        total_units=100,
        unit_name="step",
        environment_differences=differences,
    )


def progress(unit: int, attempt: int = 1) -> Progress:
    return Progress(
        attempt=attempt, unit=unit, total_units=100, units_per_second=10.0, metrics={"loss": unit / 2}
    )


def snapshot(
    checkpoint_id: str = "cp-1", unit: int = 50, attempt: int = 1, **fields: object
) -> StateSnapshot:
    return StateSnapshot.model_validate(
        {
            "attempt": attempt,
            "checkpoint_id": checkpoint_id,
            "unit": unit,
            "total_units": 100,
            "reason": CheckpointReason.PERIODIC,
            "artifacts": (artifact(),),
            "fingerprint": {"counter": "1"},
            **fields,
        }
    )


def recorded_checkpoint(checkpoint_id: str = "cp-1") -> CheckpointRecorded:
    return CheckpointRecorded(
        checkpoint_id=checkpoint_id, manifest_key="k", manifest_digest=digest_of_bytes(b"m"), size_bytes=11
    )


def refused_checkpoint(checkpoint_id: str = "cp-1") -> CheckpointRefused:
    problem = Problem(field="state.json", message="missing in the store")
    return CheckpointRefused(checkpoint_id=checkpoint_id, message="it is damaged", artifacts=(problem,))


def cancel_requested(at_unit: int | None = None, deadline_at: datetime | None = None) -> CancelRequested:
    return CancelRequested(reason="enough", at_unit=at_unit, deadline_at=deadline_at)


def cancelled(attempt: int = 1, unit: int = 50) -> Cancelled:
    return Cancelled(attempt=attempt, unit=unit, checkpoint_id="cp-1", reason="enough")


RESULTS = (artifact(b"r", "value.json"),)


def completed(attempt: int = 1, artifacts: tuple[ArtifactReference, ...] = RESULTS) -> Completed:
    return Completed(attempt=attempt, unit=100, artifacts=artifacts, summary={"value": 1})


def failed(attempt: int = 1) -> Failed:
    return Failed(attempt=attempt, unit=50, failure=failure())


def released(attempt: int = 1, unit: int = 60) -> Released:
    return Released(attempt=attempt, unit=unit, checkpoint_id="cp-1", reason="worker shut down")


def attempt_lost(attempt: int = 1) -> AttemptLost:
    return AttemptLost(attempt=attempt, failure=failure("killed"))


def archived(end: Envelope | None = None, last_sequence: int = 9) -> Archived:
    """Nothing is at its key."""
    return Archived(
        history_key=f"archive/{OPERATION}/{last_sequence}", history_digest=digest_of_bytes(b"h"), size_bytes=1,
        events=1, last_sequence=last_sequence, end=end,
    )  # fmt: skip


def resumed(child_id: str = CHILD, checkpoint_id: str | None = "cp-1") -> Resumed:
    child = requested(OPERATION, parent_id=OPERATION, root_id=OPERATION)
    return Resumed(child_id=child_id, checkpoint_id=checkpoint_id, child=child)


def log_entries(*events: Event, operation_id: str = OPERATION, first_sequence: int = 1) -> list[LogEntry]:
    """The events as the log returns them."""
    entries: list[LogEntry] = []
    for sequence, event in enumerate(events, first_sequence):
        envelope = envelop_event(
            event,
            event_id=event_id_of(operation_id, event.NAME, sequence),
            operation_id=operation_id,
            source="/test",
            time=EPOCH + timedelta(seconds=sequence),
            correlation_id=operation_id,
        )
        entries.append(LogEntry(sequence, operation_id, envelope, event))
    return entries


def story(*events: Event, commands: dict[int, str] | None = None) -> Operation:
    """The state after the events; ``commands`` are causing commands by position from 0."""
    entries = [
        Recorded(
            sequence=entry.sequence,
            operation_id=entry.operation_id,
            event=entry.event,
            event_id=entry.envelope.id,
            time=entry.envelope.time,
            causation_id=(commands or {}).get(position),
        )
        for position, entry in enumerate(log_entries(*events))
    ]
    state = fold(entries)
    assert state is not None
    return state
