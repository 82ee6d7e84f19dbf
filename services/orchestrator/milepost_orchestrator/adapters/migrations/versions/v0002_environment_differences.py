"""Attempts know what was accepted as other than when their checkpoint was saved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; attempts that are there have accepted nothing."""
    op.add_column(
        "attempts", sa.Column("environment_differences", JSONB, nullable=False, server_default="[]")
    )


def downgrade() -> None:
    """Drop the column: the log holds what it does."""
    op.drop_column("attempts", "environment_differences")
