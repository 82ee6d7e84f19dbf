"""The first read models: operations, attempts, checkpoints, artifacts, metrics, events, cursor."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
REAL = sa.Float(53)


def upgrade() -> None:
    """Create all tables."""
    _operations()
    _attempts()
    _checkpoints()
    op.create_table(
        "metrics",
        _required("operation_id", sa.Text),
        _required("name", sa.Text),
        _required("sequence", sa.BigInteger),
        _required("attempt", sa.Integer),
        _required("unit", sa.BigInteger),
        _required("value", REAL),
        _required("time", TIME),
        sa.PrimaryKeyConstraint("operation_id", "name", "sequence"),
    )
    op.create_table(
        "operation_events",
        _required("sequence", sa.BigInteger),
        _required("operation_id", sa.Text),
        _required("side", sa.Text),
        _required("name", sa.Text),
        _required("event_id", sa.Text),
        _required("source", sa.Text),
        sa.Column("causation_id", sa.Text),
        _required("time", TIME),
        _required("data", JSONB),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("operation_events_operation", "operation_events", ["operation_id", "sequence"])
    op.create_table(
        "projection_cursor",
        _required("name", sa.Text),
        _required("sequence", sa.BigInteger),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute("INSERT INTO projection_cursor (name, sequence) VALUES ('events', 0)")


def downgrade() -> None:
    """Drop all tables: the log holds everything they do."""
    for table in (
        "projection_cursor",
        "operation_events",
        "metrics",
        "checkpoint_artifacts",
        "checkpoints",
        "attempts",
        "operations",
    ):
        op.drop_table(table)


def _operations() -> None:
    op.create_table(
        "operations",
        _required("operation_id", sa.Text),
        _required("kind", sa.Text),
        _required("queue", sa.Text),
        sa.Column("name", sa.Text),
        _required("status", sa.Text),
        _required("unit", sa.BigInteger),
        sa.Column("total_units", sa.BigInteger),
        sa.Column("unit_name", sa.Text),
        sa.Column("units_per_second", REAL),
        _required("attempt", sa.Integer),
        sa.Column("worker_id", sa.Text),
        sa.Column("parent_id", sa.Text),
        _required("root_id", sa.Text),
        sa.Column("origin_checkpoint_id", sa.Text),
        sa.Column("child_id", sa.Text),
        sa.Column("checkpoint_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("stop_at_unit", sa.BigInteger),
        _required("requested_by", sa.Text),
        _required("requested_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        _required("requested_sequence", sa.BigInteger),
        _required("sequence", sa.BigInteger),
        _required("spec", JSONB),
        _required("inputs", JSONB),
        _required("options", JSONB),
        sa.Column("failure", JSONB),
        _required("results", JSONB),
        _required("summary", JSONB),
        sa.PrimaryKeyConstraint("operation_id"),
    )
    op.create_index("operations_newest", "operations", ["requested_sequence"], unique=True)
    op.create_index("operations_status", "operations", ["status", "requested_sequence"])
    op.create_index("operations_kind", "operations", ["kind", "requested_sequence"])
    op.create_index("operations_parent", "operations", ["parent_id"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        _required("operation_id", sa.Text),
        _required("attempt", sa.Integer),
        _required("worker_id", sa.Text),
        _required("host", sa.Text),
        _required("pid", sa.BigInteger),
        _required("lease_seconds", REAL),
        _required("claimed_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("start_unit", sa.BigInteger),
        sa.Column("checkpoint_id", sa.Text),
        sa.Column("unit", sa.BigInteger),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text),
        sa.Column("failure", JSONB),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("operation_id", "attempt"),
    )


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        _required("checkpoint_id", sa.Text),
        _required("operation_id", sa.Text),
        _required("kind", sa.Text),
        _required("attempt", sa.Integer),
        _required("unit", sa.BigInteger),
        _required("total_units", sa.BigInteger),
        sa.Column("unit_name", sa.Text),
        _required("reason", sa.Text),
        _required("status", sa.Text),
        _required("saved_at", TIME),
        sa.Column("settled_at", TIME),
        sa.Column("manifest_key", sa.Text),
        sa.Column("manifest_digest", sa.Text),
        _required("size_bytes", sa.BigInteger),
        sa.Column("message", sa.Text),
        _required("problems", JSONB),
        _required("fingerprint", JSONB),
        _required("summary", JSONB),
        _required("sequence", sa.BigInteger),
        sa.PrimaryKeyConstraint("operation_id", "checkpoint_id"),
    )
    op.create_index("checkpoints_newest", "checkpoints", ["sequence"], unique=True)
    op.create_index("checkpoints_operation", "checkpoints", ["operation_id", "sequence"])
    op.create_index("checkpoints_id", "checkpoints", ["checkpoint_id"])
    op.create_table(
        "checkpoint_artifacts",
        _required("operation_id", sa.Text),
        _required("checkpoint_id", sa.Text),
        _required("position", sa.Integer),
        _required("name", sa.Text),
        _required("digest", sa.Text),
        _required("size_bytes", sa.BigInteger),
        _required("media_type", sa.Text),
        sa.PrimaryKeyConstraint("operation_id", "checkpoint_id", "position"),
    )
    op.create_index("checkpoint_artifacts_digest", "checkpoint_artifacts", ["digest"])


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
