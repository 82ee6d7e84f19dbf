"""The read models' tables. Nothing here is the truth: all of it can be rebuilt from the log."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Computed, DateTime, Float, Index, Integer, Text, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any] | list[Any]


class Model(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {
        str: Text,
        int: BigInteger,
        float: Float(53),
        datetime: DateTime(timezone=True),
        Json: JSONB,
    }


class OperationModel(Model):
    """Operations as they are now."""

    __tablename__ = "operations"
    __table_args__ = (
        Index("operations_newest", "requested_sequence", unique=True),
        Index("operations_status", "status", "requested_sequence"),
        Index("operations_kind", "kind", "requested_sequence"),
        Index("operations_parent", "parent_id"),
        Index("operations_root", "root_id", "requested_sequence"),
        Index("operations_worker", "worker_id", "requested_sequence"),
        Index("operations_kind_status", "kind", "status"),
        Index("operations_queue", "queue", "requested_sequence"),
        Index("operations_reasons", "searched_reason", "operation_id"),
        Index("operations_named", "searched_name", "requested_sequence", "operation_id"),
        Index("operations_requested_at", "requested_at"),
        Index("operations_started_at", "started_at"),
        Index("operations_ended_at", "ended_at"),
        Index("operations_id_begins", "operation_id", postgresql_ops={"operation_id": "text_pattern_ops"}),
    )

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    queue: Mapped[str]
    name: Mapped[str | None]
    status: Mapped[str]
    unit: Mapped[int]
    total_units: Mapped[int | None]
    unit_name: Mapped[str | None]
    units_per_second: Mapped[float | None]
    attempt: Mapped[int] = mapped_column(Integer)
    worker_id: Mapped[str | None]
    parent_id: Mapped[str | None]
    root_id: Mapped[str]
    origin_checkpoint_id: Mapped[str | None]
    child_id: Mapped[str | None]
    checkpoint_id: Mapped[str | None]
    reason: Mapped[str | None]
    stop_at_unit: Mapped[int | None]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    requested_sequence: Mapped[int]
    sequence: Mapped[int]
    spec: Mapped[Json]
    inputs: Mapped[Json]
    options: Mapped[Json]
    failure: Mapped[Json | None]
    results: Mapped[Json]
    summary: Mapped[Json]
    imported_from: Mapped[str | None]
    relation: Mapped[str | None]
    changes: Mapped[Json]
    priority: Mapped[int] = mapped_column(Integer)
    last_event_at: Mapped[datetime | None]
    """Of any event, progress too; None where an orchestrator of an earlier version wrote last."""
    newest_checkpoint_at: Mapped[datetime | None]
    """When the checkpoint that a resume would go on from was saved; None when it has none of its own."""
    searched_name: Mapped[str] = mapped_column(
        Computed("lower(left(COALESCE(name, ''), 200))", persisted=True)
    )
    """What names are searched and sorted by; short enough for an index."""
    searched_reason: Mapped[str | None] = mapped_column(Computed("lower(left(reason, 600))", persisted=True))
    """What reasons are searched by; the few that are longer have an index of their own."""


_NEVER = literal_column("'-infinity'::timestamptz", DateTime(timezone=True))
STARTED_OR_NEVER = func.coalesce(OperationModel.started_at, _NEVER)
ENDED_OR_NEVER = func.coalesce(OperationModel.ended_at, _NEVER)
"""What has not happened sorts as the smallest; an index holds it so."""
IS_LONG_REASON = func.length(OperationModel.reason) > literal_column("600", Integer)
Index("operations_long_reasons", OperationModel.operation_id, postgresql_where=IS_LONG_REASON)
Index("operations_started", STARTED_OR_NEVER, OperationModel.requested_sequence)
Index("operations_ended", ENDED_OR_NEVER, OperationModel.requested_sequence)


class AttemptModel(Model):
    """Attempts of operations."""

    __tablename__ = "attempts"
    __table_args__ = (Index("attempts_worker", "worker_id"),)

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    worker_id: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    lease_seconds: Mapped[float]
    claimed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    start_unit: Mapped[int | None]
    checkpoint_id: Mapped[str | None]
    unit: Mapped[int | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    failure: Mapped[Json | None]
    reason: Mapped[str | None]
    environment_differences: Mapped[Json]


class CheckpointModel(Model):
    """Checkpoints, kept and refused."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        Index("checkpoints_newest", "sequence", unique=True),
        Index("checkpoints_operation", "operation_id", "sequence"),
        Index("checkpoints_id", "checkpoint_id"),
        Index("checkpoints_size", "size_bytes", "sequence"),
        Index("checkpoints_unit", "unit", "sequence"),
        Index("checkpoints_reason", "reason", "sequence"),
        Index("checkpoints_status", "status", "sequence"),
        Index("checkpoints_kind", "kind", "sequence"),
        Index("checkpoints_saved_at", "saved_at"),
        Index("checkpoints_id_begins", "checkpoint_id", postgresql_ops={"checkpoint_id": "text_pattern_ops"}),
    )

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer)
    unit: Mapped[int]
    total_units: Mapped[int]
    unit_name: Mapped[str | None]
    reason: Mapped[str]
    status: Mapped[str]
    saved_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    manifest_key: Mapped[str | None]
    manifest_digest: Mapped[str | None]
    size_bytes: Mapped[int]
    message: Mapped[str | None]
    problems: Mapped[Json]
    fingerprint: Mapped[Json]
    summary: Mapped[Json]
    sequence: Mapped[int]
    pinned: Mapped[bool]


class ArtifactModel(Model):
    """Artifacts of checkpoints, in their order."""

    __tablename__ = "checkpoint_artifacts"
    __table_args__ = (Index("checkpoint_artifacts_digest", "digest"),)

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str]
    digest: Mapped[str]
    size_bytes: Mapped[int]
    media_type: Mapped[str]


class MetricModel(Model):
    """Metrics over units."""

    __tablename__ = "metrics"

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer)
    unit: Mapped[int]
    value: Mapped[float]
    time: Mapped[datetime]


class EventModel(Model):
    """Events, progress left out."""

    __tablename__ = "operation_events"
    __table_args__ = (Index("operation_events_operation", "operation_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    operation_id: Mapped[str]
    side: Mapped[str]
    name: Mapped[str]
    event_id: Mapped[str]
    source: Mapped[str]
    causation_id: Mapped[str | None]
    time: Mapped[datetime]
    data: Mapped[Json]


class QuarantineModel(Model):
    """Events that could not be applied, with the reason and as they are stored."""

    __tablename__ = "quarantine"
    __table_args__ = (Index("quarantine_operation", "operation_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    operation_id: Mapped[str]
    side: Mapped[str]
    name: Mapped[str]
    error: Mapped[str]
    payload: Mapped[bytes]


class WaymarkModel(Model):
    """States folded up to some event: no read model, can be dropped; see ``application.waymarks``."""

    __tablename__ = "waymarks"

    operation_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    folded_by: Mapped[str]
    """Digest of the code that folded it."""
    sequence: Mapped[int]
    event_id: Mapped[str]
    first_sequence: Mapped[int]
    latest_time: Mapped[datetime]
    status: Mapped[str]
    """Which of the states it is."""
    state: Mapped[bytes]
    """JSON, compressed."""


class CursorModel(Model):
    """How far the log has been projected: one row."""

    __tablename__ = "projection_cursor"

    name: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    generation: Mapped[int]
    """Goes up whenever rows were written by anything but a projector: it then forgets what it knows."""
