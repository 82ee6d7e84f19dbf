"""Lists by queue and by part of a reason read an index and not the table."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LONG = sa.text("length(reason) > 600")


def upgrade() -> None:
    """Add the column that reasons are searched by, and the indexes; longer reasons have one of their own."""
    op.add_column(
        "operations",
        sa.Column("searched_reason", sa.Text, sa.Computed("lower(left(reason, 600))", persisted=True)),
    )
    op.create_index("operations_queue", "operations", ["queue", "requested_sequence"])
    op.create_index("operations_reasons", "operations", ["searched_reason", "operation_id"])
    op.create_index("operations_long_reasons", "operations", ["operation_id"], postgresql_where=LONG)


def downgrade() -> None:
    """Drop what was added."""
    for name in ("operations_long_reasons", "operations_reasons", "operations_queue"):
        op.drop_index(name, "operations")
    op.drop_column("operations", "searched_reason")
