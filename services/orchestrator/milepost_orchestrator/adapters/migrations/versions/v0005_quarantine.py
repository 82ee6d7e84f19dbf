"""Events that cannot be applied are set aside; projectors notice when rows were written by others."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "quarantine",
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("quarantine_operation", "quarantine", ["operation_id", "sequence"])
    op.add_column(
        "projection_cursor", sa.Column("generation", sa.BigInteger, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Drop both: what was set aside is still in the log."""
    op.drop_column("projection_cursor", "generation")
    op.drop_table("quarantine")
