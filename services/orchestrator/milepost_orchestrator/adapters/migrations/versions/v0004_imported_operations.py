"""Operations know the history file that they were imported from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is there has happened here."""
    op.add_column("operations", sa.Column("imported_from", sa.Text))


def downgrade() -> None:
    """Drop the column: the log holds what it does."""
    op.drop_column("operations", "imported_from")
