"""Rows of the read models: field names are column names, times and JSON included."""

from datetime import datetime
from typing import NamedTuple


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
