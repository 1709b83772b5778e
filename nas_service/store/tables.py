"""The store's tables. Migrations make them; these values are how the code names them.

JSON is kept as text in every database, in the order it was given, so that a value means the same in SQLite and
PostgreSQL, and non-finite numbers are refused before they are written. Times are unix seconds.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class JsonText(TypeDecorator[Any]):
    """JSON-able data as text; None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text that is stored."""
        if value is None:
            return None
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return fresh data, shared with nobody."""
        return None if value is None else json.loads(value)


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("message", Text),
    Column("progress", JsonText),
    Column("submission_id", String(200)),
    Column("stop_requested", Boolean, nullable=False),
    Column("heartbeat_at", Float),
    Index("ix_jobs_created_at", "created_at", "id"),
)

job_artefacts = Table(
    "job_artefacts",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False),
)

job_events = Table(
    "job_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JsonText, nullable=False),
    Index("ix_job_events_job", "job_id", "id"),
    sqlite_autoincrement=True,  # an id is never given twice, so that a reader's place stays right
)

candidates = Table(
    "candidates",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("strategy_index", Integer, nullable=False),
    Column("strategy", String(40), nullable=False),
    Column("architecture", JsonText, nullable=False),
    Column("phenotype", Text, nullable=False),
    Column("phenotype_sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("costs", JsonText, nullable=False),
    Column("structures", JsonText, nullable=False),
    Column("accuracies", JsonText, nullable=False),
    Column("curve", LargeBinary),
    Column("measurements", JsonText, nullable=False),
    Column("values", JsonText, nullable=False),
    Column("error", Text),
    Column("seconds", JsonText, nullable=False),
    Column("finalist", Boolean, nullable=False),
    Column("bundle_sha256", String(64)),
    Column("final", JsonText, nullable=False),
    Column("split_hashes", JsonText, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    UniqueConstraint("job_id", "number", name="uq_candidates_number"),
    UniqueConstraint("job_id", "phenotype_sha256", name="uq_candidates_phenotype"),
)

search_states = Table(
    "search_states",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("strategy_index", Integer, primary_key=True, autoincrement=False),
    Column("state", JsonText, nullable=False),
    Column("saved_at", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(63), nullable=False),
    Column("role", String(16), nullable=False),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
    Index(
        "uq_tokens_active_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
)
