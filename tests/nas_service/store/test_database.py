from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import nas_service.store
from nas_service.errors import ConflictError, InvalidRequestError, RetryableError
from nas_service.home import Home
from nas_service.store import Store
from nas_service.store.database import Database
from nas_service.store.tables import metadata
from tests.nas_service.store.test_fleet import KEY_1, KEY_2, enrol
from tests.nas_service.store.test_twins import KEYS, NAME, TWIN, answer, ask


def test_migrations_make_exactly_the_tables_that_the_code_names(database: Database) -> None:
    for module in pkgutil.iter_modules(nas_service.store.__path__):
        if module.name.endswith("tables"):
            importlib.import_module(f"nas_service.store.{module.name}")
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(store: Store, job: object) -> None:
    store.database.migrate()
    assert [listed.id for listed in store.jobs.list()] == [getattr(job, "id")]  # noqa: B009


def move_to(database: Database, revision: str) -> None:
    """Take the tables back to an older revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(nas_service.store.__file__).parent / "migrations"))
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_requests_leases_and_measurements_of_a_store_without_twins_are_kept_as_they_were(store: Store) -> None:
    enrol(store.fleet, "pi-1", key=KEY_1)
    enrol(store.fleet, "pi-2", key=KEY_2)
    answer(store.fleet, ask(store.fleet))  # and so a twin waits
    waiting = ask(store.fleet, "waiting")
    before = [rows(store, name) for name in ("boards", "leases", "measurements")]
    move_to(store.database, "0002")
    assert all("twin_of" not in row for row in rows(store, "measurement_requests"))
    store.database.migrate()
    assert [rows(store, name) for name in ("boards", "leases", "measurements")] == before
    assert {r["measurement_key"]: (r["state"], r["twin_of"]) for r in rows(store, "measurement_requests")} == {
        KEYS[NAME]: ("done", None),
        TWIN: ("failed", None),
        waiting: ("queued", None),
    }
    assert [request.measurement_key for request in store.fleet.leases.queued()] == [waiting]


def rows(store: Store, table: str) -> list[dict[str, object]]:
    with store.database.reading() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def test_a_store_of_a_newer_version_is_left_alone(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConflictError, match=r"written by a newer version .*install that version"):
        database.migrate()


def test_a_row_of_a_job_that_does_not_exist_is_refused(database: Database) -> None:
    def orphan() -> None:
        with database.transaction() as connection:
            connection.execute(text("INSERT INTO job_artefacts VALUES ('nobody', 'supernet', 'x')"))

    with pytest.raises(IntegrityError):
        orphan()


def test_sqlite_keeps_a_write_ahead_log_and_syncs_every_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("store.sqlite", r"'store.sqlite' is no database URL; write sqlite:////absolute"),
        ("mysql://host/name", r"database 'mysql' is not supported; choose sqlite or postgresql"),
        ("sqlite://", r"needs a file, such as sqlite:////srv"),
        ("sqlite:///:memory:", r"needs a file, such as sqlite:////srv"),
        ("postgresql+nodriver://host/name", r"needs a driver that is not installed .*pip install 'psycopg\[binary\]'"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(url: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Database(url)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Database("postgresql+nodriver://nas:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    file.write_text("my notes\n" * 200)
    with pytest.raises(InvalidRequestError, match=r"store.sqlite is not a SQLite database; move it away"):
        Database(f"sqlite:///{file}").migrate()
    assert file.read_text() == "my notes\n" * 200


def test_a_database_that_is_away_is_retryable(tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="cannot be used now: unable to open database file"):
        Database(f"sqlite:///{tmp_path / 'missing' / 'store.sqlite'}").check()


def test_a_home_opens_its_store_and_a_percent_sign_in_its_path_does_no_harm(tmp_path: Path) -> None:
    home = Home(tmp_path / "50%s home").create()
    with Store.open(home) as store:
        store.files.put(b"x")
        store.database.check()
    assert home.store_file.exists()
    assert any(home.files.rglob("*"))
