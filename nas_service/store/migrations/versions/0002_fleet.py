"""Board classes, boards, enrolment codes, requests, leases and measurements."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _create_classes_and_boards()
    _create_enrolments()
    _create_requests()
    _create_leases()
    _create_measurements()


def downgrade() -> None:
    """Remove the tables, and with them the boards' keys and every measurement."""
    for name in ("measurements", "leases", "measurement_requests", "enrolments", "boards", "board_classes"):
        op.drop_table(name)


def _create_classes_and_boards() -> None:
    op.create_table(
        "board_classes",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "boards",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("board_class", sa.String(63), sa.ForeignKey("board_classes.name"), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("enrolled_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
        sa.Column("incarnation", sa.String(128)),
        sa.Column("incarnation_since", sa.Float),
        sa.Column("heartbeat", sa.Text()),
        sa.Column("last_seen", sa.Float),
        sa.Column("mismatch", sa.Text()),
    )


def _create_enrolments() -> None:
    op.create_table(
        "enrolments",
        sa.Column("token_sha256", sa.String(64), primary_key=True),
        sa.Column("board", sa.String(63), nullable=False),
        sa.Column("board_class", sa.String(63), sa.ForeignKey("board_classes.name"), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("used_at", sa.Float),
        sa.Column("public_key", sa.Text()),
    )


def _create_requests() -> None:
    op.create_table(
        "measurement_requests",
        sa.Column("measurement_key", sa.String(64), primary_key=True),
        sa.Column("structure_key", sa.String(64), nullable=False),
        sa.Column("board_class", sa.String(63), sa.ForeignKey("board_classes.name"), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("half", sa.String(8), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("model_size_bytes", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(64)),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("grants", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("infra_faults", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("retryable", sa.Boolean, nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("result_id", sa.String(63)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_index("ix_measurement_requests_state", "measurement_requests", ["state"])


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("lease_id", sa.String(63), primary_key=True),
        sa.Column(
            "measurement_key", sa.String(64), sa.ForeignKey("measurement_requests.measurement_key"), nullable=False
        ),
        sa.Column("board", sa.String(63), sa.ForeignKey("boards.name"), nullable=False),
        sa.Column("incarnation", sa.String(128)),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("model_size_bytes", sa.Integer, nullable=False),
        sa.Column("granted_at", sa.Float, nullable=False),
        sa.Column("ttl_s", sa.Float, nullable=False),
        sa.Column("deadline", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("failed_board", sa.Boolean, nullable=False),
        sa.UniqueConstraint("token", name="uq_leases_token"),
        sa.UniqueConstraint("measurement_key", "attempt", name="uq_leases_attempt"),
    )
    op.create_index("ix_leases_state", "leases", ["state"])


def _create_measurements() -> None:
    op.create_table(
        "measurements",
        sa.Column("result_id", sa.String(63), primary_key=True),
        sa.Column(
            "measurement_key", sa.String(64), sa.ForeignKey("measurement_requests.measurement_key"), nullable=False
        ),
        sa.Column("board", sa.String(63), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("board_class", sa.String(63), nullable=False),
        sa.Column("structure_key", sa.String(64), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("half", sa.String(8), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.UniqueConstraint("measurement_key", "board", "attempt", name="uq_measurements_attempt"),
    )
    op.create_index("ix_measurements_class_structure", "measurements", ["board_class", "structure_key"])
