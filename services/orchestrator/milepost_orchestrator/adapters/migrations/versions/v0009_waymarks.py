"""States folded up to some event, so that looking into the past need not begin at its start."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; what is not in it is folded from the log."""
    op.create_table(
        "waymarks",
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("folded_by", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
        sa.Column("latest_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "number"),
    )
    # It is compressed already, and read whole.
    op.execute("ALTER TABLE waymarks ALTER COLUMN state SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("waymarks")
