"""The boards' tables: classes, boards, enrolment codes, requests, leases, and the append-only measurements."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from nas_service.store.tables import JsonText, metadata

board_classes = Table(
    "board_classes",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("fingerprint", JsonText, nullable=True),  # None until the first board of the class has enrolled
    Column("settings", JsonText, nullable=False),
    Column("created_at", Float, nullable=False),
)

boards = Table(
    "boards",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("board_class", String(63), ForeignKey("board_classes.name"), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("enrolled_at", Float, nullable=False),
    Column("revoked_at", Float, nullable=True),
    Column("incarnation", String(128), nullable=True),
    Column("incarnation_since", Float, nullable=True),
    Column("heartbeat", JsonText, nullable=True),  # the last one
    Column("last_seen", Float, nullable=True),
    Column("mismatch", Text, nullable=True),  # how its fingerprint departs from its class's
    Column("superseded", String(128), nullable=True),  # the incarnation before the present one
    Column("rival_at", Float, nullable=True),  # when that one was heard once more
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("board", String(63), nullable=False),
    Column("board_class", String(63), ForeignKey("board_classes.name"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float, nullable=True),
    Column("public_key", Text, nullable=True),  # of the board that used it
)

measurement_requests = Table(
    "measurement_requests",
    metadata,
    Column("measurement_key", String(64), primary_key=True),
    Column("structure_key", String(64), nullable=False),
    Column("board_class", String(63), ForeignKey("board_classes.name"), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("half", String(8), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("model_size_bytes", Integer, nullable=False),
    Column("settings", JsonText, nullable=False),
    Column("job_id", String(64), nullable=True),
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("grants", Integer, nullable=False),  # how often it was leased; the attempt of the last lease
    Column("attempts", Integer, nullable=False),
    Column("infra_faults", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("retryable", Boolean, nullable=False),  # a failed one may be asked for anew: it was not the model's fault
    Column("cause", Text, nullable=True),
    Column("result_id", String(63), nullable=True),  # the measurement that completed or failed it
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("twin_of", String(64), nullable=True),  # the request that this one has another board measure again
    Index("ix_measurement_requests_state", "state"),
)

leases = Table(
    "leases",
    metadata,
    Column("lease_id", String(63), primary_key=True),
    Column("measurement_key", String(64), ForeignKey("measurement_requests.measurement_key"), nullable=False),
    Column("board", String(63), ForeignKey("boards.name"), nullable=False),
    Column("incarnation", String(128), nullable=True),
    Column("token", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("model_size_bytes", Integer, nullable=False),
    Column("granted_at", Float, nullable=False),
    Column("ttl_s", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cause", Text, nullable=True),
    Column("failed_board", Boolean, nullable=False),  # its end counts against this board for this request
    UniqueConstraint("token", name="uq_leases_token"),
    UniqueConstraint("measurement_key", "attempt", name="uq_leases_attempt"),
    Index("ix_leases_state", "state"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("result_id", String(63), primary_key=True),
    Column("measurement_key", String(64), ForeignKey("measurement_requests.measurement_key"), nullable=False),
    Column("board", String(63), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("board_class", String(63), nullable=False),
    Column("structure_key", String(64), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("half", String(8), nullable=False),
    Column("status", String(32), nullable=False),
    Column("late", Boolean, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("result", JsonText, nullable=False),  # the whole Result
    UniqueConstraint("measurement_key", "board", "attempt", name="uq_measurements_attempt"),
    Index("ix_measurements_class_structure", "board_class", "structure_key"),
)
