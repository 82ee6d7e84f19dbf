"""Operations: relation to the parent, what a fork changed, priority. Checkpoints: pins."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what is there is neither a fork nor pinned nor urgent."""
    op.add_column("operations", sa.Column("relation", sa.Text))
    op.add_column("operations", sa.Column("changes", JSONB, nullable=False, server_default="[]"))
    op.add_column("operations", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("checkpoints", sa.Column("pinned", sa.Boolean, nullable=False, server_default="false"))


def downgrade() -> None:
    """Drop the columns: the log holds what they do."""
    op.drop_column("checkpoints", "pinned")
    for column in ("priority", "changes", "relation"):
        op.drop_column("operations", column)
