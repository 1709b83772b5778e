"""Jobs, their artefacts and events, candidates, search states and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _create_jobs()
    _create_artefacts()
    _create_events()
    _create_candidates()
    _create_search_states()
    _create_tokens()


def downgrade() -> None:
    """Remove the tables, and with them everything found so far."""
    for name in ("tokens", "search_states", "candidates", "job_events", "job_artefacts", "jobs"):
        op.drop_table(name)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("message", sa.Text),
        sa.Column("progress", sa.Text()),
        sa.Column("submission_id", sa.String(200)),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("heartbeat_at", sa.Float),
    )
    op.create_index("ix_jobs_created_at", "jobs", ["created_at", "id"])


def _create_artefacts() -> None:
    op.create_table(
        "job_artefacts",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
    )


def _create_events() -> None:
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job", "job_events", ["job_id", "id"])


def _create_candidates() -> None:
    op.create_table(
        "candidates",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("strategy_index", sa.Integer, nullable=False),
        sa.Column("strategy", sa.String(40), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("phenotype", sa.Text, nullable=False),
        sa.Column("phenotype_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("costs", sa.Text(), nullable=False),
        sa.Column("structures", sa.Text(), nullable=False),
        sa.Column("accuracies", sa.Text(), nullable=False),
        sa.Column("curve", sa.LargeBinary),
        sa.Column("measurements", sa.Text(), nullable=False),
        sa.Column("values", sa.Text(), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("seconds", sa.Text(), nullable=False),
        sa.Column("finalist", sa.Boolean, nullable=False),
        sa.Column("bundle_sha256", sa.String(64)),
        sa.Column("final", sa.Text(), nullable=False),
        sa.Column("split_hashes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.UniqueConstraint("job_id", "number", name="uq_candidates_number"),
        sa.UniqueConstraint("job_id", "phenotype_sha256", name="uq_candidates_phenotype"),
    )


def _create_search_states() -> None:
    op.create_table(
        "search_states",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("strategy_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.Float, nullable=False),
    )


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
    )
    op.create_index(
        "uq_tokens_active_name",
        "tokens",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
