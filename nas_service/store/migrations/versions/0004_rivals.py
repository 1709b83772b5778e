"""Rivals: two agents that use one board's key show by an incarnation that comes back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Remember the incarnation before the present one, and when it was heard once more."""
    op.add_column("boards", sa.Column("superseded", sa.String(128), nullable=True))
    op.add_column("boards", sa.Column("rival_at", sa.Float, nullable=True))


def downgrade() -> None:
    """Forget both."""
    op.drop_column("boards", "rival_at")
    op.drop_column("boards", "superseded")
