"""Rows made from the folded state, and from events as they come.

Everything in a row follows from the log alone, so a rebuild from nothing gives the same rows.
"""

from collections.abc import Iterable

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.events import Progress, Requested, Resumed
from milepost_contracts.lineage import Relation
from milepost_contracts.messages import encode
from milepost_runtime.event_log import LogEntry, ProgressEntry, ReadEntry, UnreadableEntry

from milepost_orchestrator.application.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    MetricRow,
    OperationConstants,
    OperationRow,
    QuarantineRow,
)
from milepost_orchestrator.application.storable_text import json_text, storable_text
from milepost_orchestrator.domain.operation import (
    Attempt,
    Cancelled,
    Cancelling,
    Checkpoint,
    Completed,
    Facts,
    Failed,
    Operation,
    Queued,
    Running,
    status_of,
)

ERROR_CHARACTERS_MAX = 2000


def constants_of(facts: Facts) -> OperationConstants:
    """Return the JSON that never changes."""
    requested = facts.requested
    return OperationConstants(
        json_text(requested.spec),
        _artifacts(requested.inputs),
        json_text(requested.options),
        json_text([change.model_dump(mode="json") for change in requested.changes]),
    )


def operation_row(operation: Operation, constants: OperationConstants | None = None) -> OperationRow:
    """Return the row of an operation."""
    facts = operation.facts
    requested = facts.requested
    constants = constants or constants_of(facts)
    owner = facts.newest_attempt
    newest = facts.newest_kept
    at_unit = operation.at_unit if isinstance(operation, Cancelling) else requested.options.stop_at_unit
    return OperationRow(
        operation_id=facts.operation_id,
        kind=requested.kind,
        queue=requested.queue,
        name=storable_text(requested.name),
        status=status_of(operation).value,
        unit=facts.unit,
        total_units=facts.total_units,
        unit_name=storable_text(facts.unit_name),
        units_per_second=facts.units_per_second,
        attempt=facts.attempt,
        worker_id=owner.worker_id if owner is not None and not isinstance(operation, Queued) else None,
        parent_id=requested.parent_id,
        root_id=requested.root_id,
        origin_checkpoint_id=facts.origin.checkpoint_id if facts.origin else None,
        child_id=facts.child_id,
        checkpoint_id=facts.shown_checkpoint_id,
        reason=storable_text(_reason(operation)),
        stop_at_unit=at_unit,
        requested_by=storable_text(requested.requested_by),
        requested_at=facts.requested_at,
        started_at=facts.started_at,
        ended_at=operation.ended_at if isinstance(operation, Cancelled | Completed | Failed) else None,
        requested_sequence=facts.requested_sequence,
        sequence=facts.sequence,
        spec=constants.spec,
        inputs=constants.inputs,
        options=constants.options,
        failure=json_text(operation.failure) if isinstance(operation, Failed) else None,
        results=_artifacts(operation.artifacts) if isinstance(operation, Completed) else "[]",
        summary=json_text(operation.summary) if isinstance(operation, Completed) else "{}",
        imported_from=storable_text(facts.imported_from),
        relation=_relation(requested),
        changes=constants.changes,
        priority=facts.priority,
        last_event_at=facts.last_event_at,
        newest_checkpoint_at=newest.saved_at if newest is not None else None,
    )


def attempt_row(operation_id: str, attempt: Attempt) -> AttemptRow:
    """Return the row of an attempt."""
    return AttemptRow(
        operation_id=operation_id,
        attempt=attempt.attempt,
        worker_id=attempt.worker_id,
        host=storable_text(attempt.host),
        pid=attempt.pid,
        lease_seconds=attempt.lease_seconds,
        claimed_at=attempt.claimed_at,
        started_at=attempt.started_at,
        start_unit=attempt.start_unit,
        checkpoint_id=attempt.checkpoint_id,
        unit=attempt.unit,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome.value if attempt.outcome else None,
        failure=json_text(attempt.failure) if attempt.failure else None,
        reason=storable_text(attempt.reason),
        environment_differences=json_text(list(attempt.environment_differences)),
    )


def checkpoint_row(facts: Facts, checkpoint: Checkpoint) -> CheckpointRow:
    """Return the row of a checkpoint."""
    return CheckpointRow(
        checkpoint_id=checkpoint.checkpoint_id,
        operation_id=facts.operation_id,
        kind=facts.requested.kind,
        attempt=checkpoint.attempt,
        unit=checkpoint.unit,
        total_units=checkpoint.total_units,
        unit_name=storable_text(facts.unit_name),
        reason=checkpoint.reason.value,
        status=checkpoint.status.value,
        saved_at=checkpoint.saved_at,
        settled_at=checkpoint.settled_at,
        manifest_key=checkpoint.manifest_key,
        manifest_digest=checkpoint.manifest_digest,
        size_bytes=checkpoint.size_bytes,
        message=storable_text(checkpoint.message),
        problems=json_text([problem.model_dump(mode="json") for problem in checkpoint.problems]),
        fingerprint=json_text(dict(checkpoint.fingerprint)),
        summary=json_text(checkpoint.summary),
        sequence=checkpoint.sequence,
        pinned=checkpoint.pinned,
    )


def artifact_rows(operation_id: str, checkpoint: Checkpoint) -> list[ArtifactRow]:
    """Return the rows of a checkpoint's artifacts."""
    return [
        ArtifactRow(
            operation_id=operation_id,
            checkpoint_id=checkpoint.checkpoint_id,
            position=position,
            name=artifact.name,
            digest=artifact.digest,
            size_bytes=artifact.size_bytes,
            media_type=storable_text(artifact.media_type),
        )
        for position, artifact in enumerate(checkpoint.artifacts)
    ]


def metric_rows(entry: LogEntry, progress: Progress) -> list[MetricRow]:
    """Return the rows of the metrics that came with progress."""
    return [
        MetricRow(
            operation_id=entry.operation_id,
            name=storable_text(name),
            sequence=entry.sequence,
            attempt=progress.attempt,
            unit=progress.unit,
            value=value,
            time=entry.envelope.time,
        )
        for name, value in progress.metrics.items()
    ]


def metric_rows_of(entry: ProgressEntry) -> list[MetricRow]:
    """Return the same rows of progress that came without its envelope."""
    operation_id, sequence, attempt, unit, time = (
        entry.operation_id,
        entry.sequence,
        entry.attempt,
        entry.unit,
        entry.time,
    )
    return [
        MetricRow(operation_id, storable_text(name), sequence, attempt, unit, value, time)
        for name, value in entry.metrics.items()
    ]


def event_row(entry: LogEntry) -> EventRow:
    """Return the row of an event."""
    envelope = entry.envelope
    # The child's whole request is in its own row; here its id is enough.
    data = {**envelope.data, "child": None} if isinstance(entry.event, Resumed) else envelope.data
    return EventRow(
        sequence=entry.sequence,
        operation_id=entry.operation_id,
        side=entry.event.SIDE.value,
        name=entry.event.NAME,
        event_id=storable_text(envelope.id),
        source=storable_text(envelope.source),
        causation_id=storable_text(envelope.causationid),
        time=envelope.time,
        data=json_text(data),
    )


def quarantine_row(entry: ReadEntry, error: str) -> QuarantineRow:
    """Return the row of an event that is set aside, and why."""
    if isinstance(entry, UnreadableEntry):
        stored = entry.stored
        side, name, payload = stored.side, stored.name, stored.payload
    else:
        side, name = entry.event.SIDE, entry.event.NAME
        payload = encode(entry.envelope.model_copy(update={"sequence": None}))
    words = storable_text(error)
    return QuarantineRow(
        sequence=entry.sequence,
        operation_id=storable_text(entry.operation_id),
        side=side.value,
        name=storable_text(name),
        error=words[:ERROR_CHARACTERS_MAX],
        payload=payload,
    )


def _relation(requested: Requested) -> str | None:
    if requested.relation is not None:
        return requested.relation.value
    return Relation.RESUME.value if requested.parent_id is not None else None


def _reason(operation: Operation) -> str | None:
    match operation:
        case Cancelling() | Cancelled():
            return operation.reason
        case Failed():
            return operation.failure.message
        case Queued() | Running() | Completed():
            return None


def _artifacts(artifacts: Iterable[ArtifactReference]) -> str:
    return json_text([artifact.model_dump(mode="json") for artifact in artifacts])
