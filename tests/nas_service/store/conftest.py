from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from nas_service.job import JobSpec, parse_job
from nas_service.store import Store
from nas_service.store.database import Database
from nas_service.store.files import LocalFileStore
from nas_service.store.jobs import Job

POSTGRES = os.environ.get("NAS_TEST_POSTGRES")  # such as postgresql+psycopg://user@127.0.0.1/name


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRES else [])])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    assert POSTGRES is not None
    engine, schema = create_engine(POSTGRES), f"t_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables in it, to be copied: migrating anew takes 0.1 s."""
    file = tmp_path_factory.mktemp("migrated") / "store.sqlite"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture
def database(url: str, migrated: Path) -> Iterator[Database]:
    database = Database(url)
    if database.is_sqlite:
        shutil.copy(migrated, str(database.url.database))
    else:
        database.migrate()
    yield database
    database.close()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Store:
    return Store(database, LocalFileStore(tmp_path / "files"))


@pytest.fixture
def spec() -> JobSpec:
    return parse_job(
        {
            "kind": "search",
            "name": "Digits demo",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro"},
            "supernet": {"epochs": 2},
            "strategy": {"name": "random", "evaluations": 8},
            "objectives": ["error", "macs"],
        }
    )


@pytest.fixture
def job(store: Store, spec: JobSpec) -> Job:
    return store.jobs.create(spec)


@pytest.fixture
def propose() -> Callable[[int], tuple[dict[str, Any], str, dict[str, float], dict[str, str]]]:
    def proposal(gene: int) -> tuple[dict[str, Any], str, dict[str, float], dict[str, str]]:
        return {"gene": gene}, f"phenotype {gene}", {"params": float(gene)}, {"little": "a" * 64, "big": "b" * 64}

    return proposal
