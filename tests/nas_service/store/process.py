"""What one process of several does to a store that all use at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess

from sqlalchemy import select, update

from nas_service.candidate import CandidateStatus
from nas_service.store.candidates import CandidateStore
from nas_service.store.database import Database
from nas_service.store.jobs import JobStore
from nas_service.store.tables import jobs

# Children are forked from a server that has the imports and no threads: quick, and safe beside other tests.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.nas_service.store.process"])


def start(what: Callable[..., None], url: str, *arguments: str | int) -> BaseProcess:
    process = _CONTEXT.Process(target=_run, args=(what, url, *arguments))
    process.start()
    return process


def _run(what: Callable[..., None], url: str, *arguments: str | int) -> None:
    what(Database(url), *arguments)


def count(database: Database, job_id: str, times: int) -> None:
    for _ in range(times):
        with database.transaction() as connection:
            number = int(connection.execute(select(jobs.c.message).where(jobs.c.id == job_id)).scalar_one() or 0)
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(message=str(number + 1)))


def ask(database: Database, job_id: str, first: int, times: int) -> None:
    store, events = CandidateStore(database), JobStore(database)
    for gene in range(first, first + times):
        store.asked(job_id, 0, "random", [({"gene": gene}, f"phenotype {gene}", {}, {})])
        events.append_event(job_id, "asked", f"{gene}")


def migrate(database: Database) -> None:
    database.migrate()


def die_in_transaction(database: Database, job_id: str) -> None:
    with database.transaction() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(message="half-written"))
        os.kill(os.getpid(), signal.SIGKILL)


class _DiesBetween(CandidateStore):
    """Is killed after the candidate was written and before the searcher's state."""

    def _save(self, *arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def die_finishing(database: Database, candidate_id: str) -> None:
    store = _DiesBetween(database)
    candidate = replace(store.get(candidate_id), status=CandidateStatus.FINISHED, accuracies={"big": 90.0})
    store.finish(candidate, {"told": 2})
