"""The database: connections that are safe between processes, transactions, and migrations.

A write transaction is alone from its first statement on: `BEGIN IMMEDIATE` in SQLite, an advisory lock in PostgreSQL.
What it reads therefore still holds when it writes, and there is nothing to retry but a lock that took too long.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    NoSuchModuleError,
    OperationalError,
    StatementError,
    TimeoutError,
)

from nas_service.errors import ConflictError, InvalidRequestError, RetryableError

LOCK_TIMEOUT_S = 30
_MOST_CONNECTIONS = 64  # more than the threads of one server process
_WRITE = "nas_write"
_WRITERS_LOCK = 0x6E61735F77726974  # "nas_writ": any number that others do not use
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A SQLite file or a PostgreSQL database, by URL; open it in each process, never across a fork."""

    def __init__(self, url: str) -> None:
        self.url = _checked_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"timeout": LOCK_TIMEOUT_S, "check_same_thread": False} if self.is_sqlite else {}
        try:
            self._engine = create_engine(
                self.url,
                connect_args=options,
                pool_pre_ping=not self.is_sqlite,  # a server that was restarted costs nobody an error
                max_overflow=_MOST_CONNECTIONS,
                pool_timeout=LOCK_TIMEOUT_S,
            )
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise InvalidRequestError(
                f"the database {self.name} needs a driver that is not installed ({error}); "
                "for PostgreSQL, `pip install 'psycopg[binary]'` and write postgresql+psycopg://..."
            ) from None
        self._writing = self._engine.execution_options(**{_WRITE: True})
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "begin", _begin_postgresql)

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection that alone may write until the block ends; it commits, or undoes all on an exception.

        Raises:
            RetryableError: another writer held the lock for longer than `LOCK_TIMEOUT_S`, or the server is away.
        """
        with self._translated(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that reads; it waits for no writer.

        Raises:
            RetryableError: the database cannot be reached now.
        """
        with self._translated(), self._engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to this code's version; harmless when they are, and when several processes do it at once.

        Raises:
            ConflictError: the tables were made by a newer version of this code.
            InvalidRequestError: the file is no database.
        """
        from alembic import command  # costs 0.2 s, which a reader of the store need not pay
        from alembic.config import Config
        from alembic.util import CommandError

        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self.transaction() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise ConflictError(
                    f"the store {self.name} was written by a newer version of this program ({error}); "
                    "install that version, or name another store in NAS_STORE"
                ) from None

    def check(self) -> None:
        """Return if the database answers; raise RetryableError if it does not."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise RetryableError(f"the store {self.name} cannot be used now: {error.orig}; try again") from error
        except TimeoutError as error:
            raise RetryableError(f"the store {self.name} has no connection free now; try again") from error
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
                raise InvalidRequestError(
                    f"{self.url.database} is not a SQLite database; move it away, or name another in NAS_STORE"
                ) from None
            raise
        except StatementError as error:  # a value that has no JSON, such as a number that is not finite
            if isinstance(error.orig, (TypeError, ValueError)):
                raise InvalidRequestError(f"a value cannot be stored: {error.orig}") from error
            raise


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidRequestError(
            f"{url!r} is no database URL; write sqlite:////absolute/path.sqlite or postgresql+psycopg://user@host/name"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InvalidRequestError(f"database {backend!r} is not supported; choose sqlite or postgresql")
    if backend == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise InvalidRequestError("a SQLite store needs a file, such as sqlite:////srv/nas/store.sqlite")
    return parsed


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the begin event says BEGIN, not the driver
    connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    _switch_to_wal(connection)


def _switch_to_wal(connection: Any) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError:  # the switch does not wait for other connections by itself
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise InvalidRequestError(
            f"SQLite cannot keep a write-ahead log here (it offers {mode!r}); put the store on a local disk, "
            "or use PostgreSQL by NAS_STORE"
        )


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITE, False):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
