from __future__ import annotations

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from sqlalchemy import inspect

from nas_service.errors import RetryableError
from nas_service.store import Store, database
from nas_service.store.database import Database
from nas_service.store.jobs import Job, JobStore
from tests.nas_service.store.process import ask, count, die_finishing, die_in_transaction, migrate, start


def end_of(process: BaseProcess) -> int | None:
    process.join(timeout=120)
    return process.exitcode


def run_together(*parts: tuple[Any, ...]) -> None:
    running = [start(*part) for part in parts]
    assert [end_of(process) for process in running] == [0] * len(parts)


def test_four_processes_that_read_then_write_lose_nothing(store: Store, job: Job, url: str) -> None:
    run_together(*[(count, url, job.id, 50)] * 4)
    assert store.jobs.get(job.id).message == "200"


def test_four_processes_that_ask_number_candidates_without_gaps(store: Store, job: Job, url: str) -> None:
    run_together(*[(ask, url, job.id, first, 20) for first in (0, 10, 20, 30)])  # half overlap
    listed = store.candidates.list(job.id)
    assert [c.number for c in listed] == list(range(1, 51))
    assert {c.architecture["gene"] for c in listed} == set(range(50))
    assert len(store.jobs.events(job.id)) == 1 + 80


def test_forty_threads_share_one_store(store: Store, job: Job) -> None:
    with ThreadPoolExecutor(40) as threads:
        ids = list(threads.map(lambda n: store.jobs.append_event(job.id, "epoch", str(n)), range(80)))
    assert sorted(ids) == [event.id for event in store.jobs.events(job.id)][1:]


def test_processes_that_migrate_at_once_make_the_tables_once(url: str) -> None:
    run_together(*[(migrate, url)] * 3)
    opened = Database(url)
    with opened.reading() as connection:
        assert {"jobs", "candidates", "alembic_version"} <= set(inspect(connection).get_table_names())
    opened.close()


def test_a_process_killed_in_a_transaction_leaves_nothing_and_blocks_nobody(store: Store, job: Job, url: str) -> None:
    process = start(die_in_transaction, url, job.id)
    assert end_of(process) == -signal.SIGKILL
    assert store.jobs.get(job.id).message is None
    store.jobs.beat(job.id, now=1.0)
    assert store.jobs.get(job.id).heartbeat_at == 1.0


def test_a_process_killed_while_finishing_keeps_neither_candidate_nor_state(store: Store, job: Job, url: str) -> None:
    [asked] = store.candidates.asked(job.id, 0, "random", [({"gene": 1}, "p", {}, {})])
    store.candidates.save_search_state(job.id, 0, {"told": 1})
    process = start(die_finishing, url, asked.id)
    assert end_of(process) == -signal.SIGKILL
    assert store.candidates.get(asked.id) == asked
    assert store.candidates.search_state(job.id, 0) == {"told": 1}


def test_a_lock_held_too_long_is_retryable_and_a_reader_never_waits(
    store: Store, job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 1)
    other = Database(url)
    with store.database.transaction():
        assert JobStore(other).get(job.id).message is None
        with pytest.raises(RetryableError, match=r"cannot be used now: .*; try again"), other.transaction():
            pass
    other.close()


def test_an_exception_undoes_the_whole_transaction(store: Store, job: Job) -> None:
    def fail() -> None:
        with store.database.transaction() as connection:
            connection.exec_driver_sql(f"UPDATE jobs SET message = 'half' WHERE id = '{job.id}'")
            raise sqlite3.Warning("anything")

    with pytest.raises(sqlite3.Warning):
        fail()
    assert store.jobs.get(job.id).message is None
