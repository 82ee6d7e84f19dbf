"""Lists by any filter in any order read an index and not the table."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STARTED = sa.text("COALESCE(started_at, '-infinity'::timestamptz)")
_ENDED = sa.text("COALESCE(ended_at, '-infinity'::timestamptz)")
_INDEXES: dict[str, tuple[str, list[Any]]] = {
    "operations_started": ("operations", [_STARTED, "requested_sequence"]),
    "operations_ended": ("operations", [_ENDED, "requested_sequence"]),
    "operations_ended_at": ("operations", ["ended_at"]),
    "operations_started_at": ("operations", ["started_at"]),
    "operations_requested_at": ("operations", ["requested_at"]),
    "operations_root": ("operations", ["root_id", "requested_sequence"]),
    "operations_worker": ("operations", ["worker_id", "requested_sequence"]),
    "operations_kind_status": ("operations", ["kind", "status"]),
    "operations_named": ("operations", ["searched_name", "requested_sequence", "operation_id"]),
    "checkpoints_size": ("checkpoints", ["size_bytes", "sequence"]),
    "checkpoints_unit": ("checkpoints", ["unit", "sequence"]),
    "checkpoints_reason": ("checkpoints", ["reason", "sequence"]),
    "checkpoints_status": ("checkpoints", ["status", "sequence"]),
    "checkpoints_kind": ("checkpoints", ["kind", "sequence"]),
    "checkpoints_saved_at": ("checkpoints", ["saved_at"]),
    "attempts_worker": ("attempts", ["worker_id"]),
}
_PREFIXES = {
    "operations_id_begins": ("operations", "operation_id"),
    "checkpoints_id_begins": ("checkpoints", "checkpoint_id"),
}
"""Beginnings of ids are looked for in any collation."""


def upgrade() -> None:
    """Add the column that names are searched and sorted by, and the indexes."""
    op.add_column(
        "operations",
        sa.Column(
            "searched_name",
            sa.Text,
            sa.Computed("lower(left(COALESCE(name, ''), 200))", persisted=True),
            nullable=False,
        ),
    )
    for name, (table, columns) in _INDEXES.items():
        op.create_index(name, table, columns)
    for name, (table, column) in _PREFIXES.items():
        op.create_index(name, table, [column], postgresql_ops={column: "text_pattern_ops"})


def downgrade() -> None:
    """Drop what was added."""
    for name, (table, _) in {**_INDEXES, **_PREFIXES}.items():
        op.drop_index(name, table)
    op.drop_column("operations", "searched_name")
