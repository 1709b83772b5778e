"""Twins: requests that have a second board measure what another has measured."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a request name the one whose twin it is; those there are, are nobody's."""
    op.add_column("measurement_requests", sa.Column("twin_of", sa.String(64), nullable=True))


def downgrade() -> None:
    """Give up the twins that wait, which would else go to any board; what twins measured stays."""
    op.execute(
        "UPDATE measurement_requests SET state = 'failed', cause = 'this version makes no twins' "
        "WHERE twin_of IS NOT NULL AND state IN ('queued', 'leased')"
    )
    op.drop_column("measurement_requests", "twin_of")
