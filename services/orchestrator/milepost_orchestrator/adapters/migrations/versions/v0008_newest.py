"""Operations know when their last event happened and when their newest checkpoint was saved."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_LAST_EVENT = """
UPDATE operations AS o SET last_event_at = coalesce(
    (SELECT time FROM operation_events AS e WHERE e.sequence = o.sequence AND e.name <> 'archived'),
    (SELECT max(time) FROM metrics AS m WHERE m.operation_id = o.operation_id AND m.sequence = o.sequence),
    (SELECT time FROM operation_events AS e WHERE e.operation_id = o.operation_id AND e.name <> 'archived'
     ORDER BY sequence DESC LIMIT 1))
"""
_NEWEST_CHECKPOINT = """
UPDATE operations AS o SET newest_checkpoint_at = (
    SELECT saved_at FROM checkpoints AS c WHERE c.operation_id = o.operation_id AND c.status <> 'refused'
    ORDER BY unit DESC, sequence DESC LIMIT 1)
"""


def upgrade() -> None:
    """Add the columns, and fill them from the tables that are there.

    Progress without metrics has left no time in them: where it was the last event, an earlier time stands until
    the next one, or until `milepost projections rebuild`.
    """
    op.add_column("operations", sa.Column("last_event_at", sa.DateTime(timezone=True)))
    op.add_column("operations", sa.Column("newest_checkpoint_at", sa.DateTime(timezone=True)))
    op.execute(_LAST_EVENT)
    op.execute(_NEWEST_CHECKPOINT)


def downgrade() -> None:
    """Drop the columns: the log holds what they do."""
    op.drop_column("operations", "newest_checkpoint_at")
    op.drop_column("operations", "last_event_at")
