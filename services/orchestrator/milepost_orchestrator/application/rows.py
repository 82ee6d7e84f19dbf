"""Rows of the read models, made from the folded state: field names are column names, times and JSON included.

Everything in a row follows from the log alone, so a rebuild from nothing gives the same rows.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.events import Progress, Requested, Resumed
from milepost_contracts.lineage import Relation
from milepost_contracts.messages import encode
from milepost_contracts.model import ContractModel
from milepost_runtime.event_log import LogEntry, ProgressEntry, ReadEntry, UnreadableEntry

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


class OperationRow(NamedTuple):
    """One operation."""

    operation_id: str
    kind: str
    queue: str
    name: str | None
    status: str
    unit: int
    total_units: int | None
    unit_name: str | None
    units_per_second: float | None
    attempt: int
    worker_id: str | None
    parent_id: str | None
    root_id: str
    origin_checkpoint_id: str | None
    child_id: str | None
    checkpoint_id: str | None
    reason: str | None
    stop_at_unit: int | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    requested_sequence: int
    sequence: int
    spec: str
    inputs: str
    options: str
    failure: str | None
    results: str
    summary: str
    imported_from: str | None
    relation: str | None
    changes: str
    priority: int
    last_event_at: datetime
    newest_checkpoint_at: datetime | None


class AttemptRow(NamedTuple):
    """One attempt of an operation."""

    operation_id: str
    attempt: int
    worker_id: str
    host: str
    pid: int
    lease_seconds: float
    claimed_at: datetime
    started_at: datetime | None
    start_unit: int | None
    checkpoint_id: str | None
    unit: int | None
    ended_at: datetime | None
    outcome: str | None
    failure: str | None
    reason: str | None
    environment_differences: str


class CheckpointRow(NamedTuple):
    """One checkpoint."""

    checkpoint_id: str
    operation_id: str
    kind: str
    attempt: int
    unit: int
    total_units: int
    unit_name: str | None
    reason: str
    status: str
    saved_at: datetime
    settled_at: datetime | None
    manifest_key: str | None
    manifest_digest: str | None
    size_bytes: int
    message: str | None
    problems: str
    fingerprint: str
    summary: str
    sequence: int
    pinned: bool


class ArtifactRow(NamedTuple):
    """One artifact of a checkpoint."""

    operation_id: str
    checkpoint_id: str
    position: int
    name: str
    digest: str
    size_bytes: int
    media_type: str


class MetricRow(NamedTuple):
    """One value of one metric."""

    operation_id: str
    name: str
    sequence: int
    attempt: int
    unit: int
    value: float
    time: datetime


class EventRow(NamedTuple):
    """One event, progress left out: that is in ``operations`` and ``metrics``."""

    sequence: int
    operation_id: str
    side: str
    name: str
    event_id: str
    source: str
    causation_id: str | None
    time: datetime
    data: str


class QuarantineRow(NamedTuple):
    """One event that could not be applied, as it is stored."""

    sequence: int
    operation_id: str
    side: str
    name: str
    error: str
    payload: bytes


class OperationConstants(NamedTuple):
    """JSON of an operation that never changes; made once."""

    spec: str
    inputs: str
    options: str
    changes: str


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
        name=_text(requested.name),
        status=status_of(operation).value,
        unit=facts.unit,
        total_units=facts.total_units,
        unit_name=_text(facts.unit_name),
        units_per_second=facts.units_per_second,
        attempt=facts.attempt,
        worker_id=owner.worker_id if owner is not None and not isinstance(operation, Queued) else None,
        parent_id=requested.parent_id,
        root_id=requested.root_id,
        origin_checkpoint_id=facts.origin.checkpoint_id if facts.origin else None,
        child_id=facts.child_id,
        checkpoint_id=facts.shown_checkpoint_id,
        reason=_text(_reason(operation)),
        stop_at_unit=at_unit,
        requested_by=_text(requested.requested_by) or "",
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
        imported_from=_text(facts.imported_from),
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
        host=_text(attempt.host) or "",
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
        reason=_text(attempt.reason),
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
        unit_name=_text(facts.unit_name),
        reason=checkpoint.reason.value,
        status=checkpoint.status.value,
        saved_at=checkpoint.saved_at,
        settled_at=checkpoint.settled_at,
        manifest_key=checkpoint.manifest_key,
        manifest_digest=checkpoint.manifest_digest,
        size_bytes=checkpoint.size_bytes,
        message=_text(checkpoint.message),
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
            media_type=_text(artifact.media_type) or "",
        )
        for position, artifact in enumerate(checkpoint.artifacts)
    ]


def metric_rows(entry: LogEntry, progress: Progress) -> list[MetricRow]:
    """Return the rows of the metrics that came with progress."""
    return [
        MetricRow(
            operation_id=entry.operation_id,
            name=_text(name) or "",
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
        MetricRow(operation_id, _text(name) or "", sequence, attempt, unit, value, time)
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
        event_id=_text(envelope.id) or "",
        source=_text(envelope.source) or "",
        causation_id=_text(envelope.causationid),
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
    words = _text(error) or ""
    return QuarantineRow(
        sequence=entry.sequence,
        operation_id=_text(entry.operation_id) or "",
        side=side.value,
        name=_text(name) or "",
        error=words[:ERROR_CHARACTERS_MAX],
        payload=payload,
    )


def json_text(value: object) -> str:
    """Return JSON that Postgres takes: what is not finite becomes a word, NUL a replacement character."""
    if isinstance(value, ContractModel):
        value = value.model_dump(mode="json")
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_storable(value))
    return json.dumps(_storable(value)) if "\\u0000" in text else text


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case float() if value != value:
            return "NaN"
        case float() if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {_storable(key): _storable(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
        case list() | tuple():
            return [_storable(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
        case _:
            return value


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


def _text(value: str | None) -> str | None:
    return value.replace("\x00", "\ufffd") if value is not None and "\x00" in value else value
