"""One process of several that use a store at once: `python -m tests.nas_service.store.process WHAT URL ...`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import select, update

from nas_service.candidate import CandidateStatus
from nas_service.store.candidates import CandidateStore
from nas_service.store.database import Database
from nas_service.store.jobs import JobStore
from nas_service.store.tables import jobs


def start(what: str, url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.nas_service.store.process", what, url, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def count(database: Database, job_id: str, times: str) -> None:
    for _ in range(int(times)):
        with database.transaction() as connection:
            number = int(connection.execute(select(jobs.c.message).where(jobs.c.id == job_id)).scalar_one() or 0)
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(message=str(number + 1)))


def ask(database: Database, job_id: str, first: str, times: str) -> None:
    store, events = CandidateStore(database), JobStore(database)
    for gene in range(int(first), int(first) + int(times)):
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


PARTS: dict[str, Callable[..., None]] = {
    "count": count,
    "ask": ask,
    "migrate": migrate,
    "die_in_transaction": die_in_transaction,
    "die_finishing": die_finishing,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](Database(sys.argv[2]), *sys.argv[3:])
