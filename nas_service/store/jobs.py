"""Jobs in the store: their states, progress, events and artefacts."""

from __future__ import annotations

import time
from builtins import list as List  # the store has a method of that name
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, tuple_, update

from nas_service.errors import ConflictError, NotFoundError
from nas_service.ids import new_job_id
from nas_service.job import JobSpec
from nas_service.job_state import JobState
from nas_service.store.database import Database
from nas_service.store.job_record import Job, JobEvent, Progress
from nas_service.store.tables import job_artefacts, job_events, jobs

__all__ = ["Job", "JobEvent", "JobStore", "Progress"]


class JobStore:
    """The jobs of a store; every change is one transaction and is seen by all processes at once."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(self, spec: JobSpec) -> Job:
        """Return a new, queued job of its own, even if an equal one exists."""
        job_id = new_job_id(spec.name)
        now = self._clock()
        with self._database.transaction() as connection:
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    name=spec.name,
                    kind=spec.kind,
                    state=JobState.QUEUED.value,
                    spec=spec.to_dict(),
                    spec_hash=spec.hash(),
                    created_at=now,
                    stop_requested=False,
                )
            )
            self._append(connection, job_id, "state", "queued", {"to": "queued"}, now)
            return self._read(connection, job_id)

    def get(self, job_id: str) -> Job:
        """Return the job; raise NotFoundError if there is none."""
        with self._database.reading() as connection:
            return self._read(connection, job_id)

    def list(self, limit: int = 100, before: str | None = None) -> List[Job]:
        """Return at most `limit` jobs, the newest first, from the one after `before` on.

        Raises:
            NotFoundError: no job has the id `before`.
        """
        wanted = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            if before is not None:
                place = self._row(connection, before)
                wanted = wanted.where(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(place.created_at, place.id))
            rows = connection.execute(wanted).all()
            artefacts = self._artefacts(connection, [row.id for row in rows])
        return [_job(row, artefacts[row.id]) for row in rows]

    def transition(self, job_id: str, to: JobState, message: str | None = None) -> Job:
        """Return the job after it took the state `to`; the change is an event of kind `state`.

        Back to `queued` (a resume) forgets the end, its message and a requested stop.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: no way leads from its state to that one.
        """
        now = self._clock()
        with self._database.transaction() as connection:
            row = self._row(connection, job_id)
            state = JobState(row.state)
            if not state.may_become(to):
                raise ConflictError(_no_way(job_id, state, to))
            values: dict[str, Any] = {"state": to.value, "message": message}
            if to is JobState.QUEUED:
                values |= {"finished_at": None, "stop_requested": False, "submission_id": None, "heartbeat_at": None}
            elif row.started_at is None and not to.over:
                values["started_at"] = now
            if to.over:
                values["finished_at"] = now
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
            data = {"from": state.value, "to": to.value}
            self._append(connection, job_id, "state", message or to.value, data, now)
            return self._read(connection, job_id)

    def set_progress(self, job_id: str, progress: Progress) -> None:
        """Replace how far the job's present phase has come."""
        self._set(job_id, progress=progress.to_dict())

    def set_submission(self, job_id: str, submission_id: str) -> None:
        """Note the id under which the cluster runs the job's driver."""
        self._set(job_id, submission_id=submission_id)

    def set_artefact(self, job_id: str, name: str, sha256: str) -> None:
        """Note that the job's artefact `name`, such as `supernet`, is the file `sha256`; the last one counts."""
        with self._database.transaction() as connection:
            self._row(connection, job_id)
            same = (job_artefacts.c.job_id == job_id, job_artefacts.c.name == name)
            if connection.execute(update(job_artefacts).where(*same).values(sha256=sha256)).rowcount == 0:
                connection.execute(insert(job_artefacts).values(job_id=job_id, name=name, sha256=sha256))

    def beat(self, job_id: str, now: float | None = None) -> None:
        """Note that the job's driver was alive at `now` (unix seconds; None: this moment)."""
        self._set(job_id, heartbeat_at=self._clock() if now is None else now)

    def request_stop(self, job_id: str) -> None:
        """Ask the job's driver to end; asking twice is asking once.

        Raises:
            ConflictError: the job is over already.
        """
        with self._database.transaction() as connection:
            state = JobState(self._row(connection, job_id).state)
            if state.over:
                raise ConflictError(f"job {job_id} is {state.value}; only a job that is not over can be stopped")
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(stop_requested=True))

    def stop_requested(self, job_id: str) -> bool:
        """Return whether the job was asked to end."""
        with self._database.reading() as connection:
            return bool(self._row(connection, job_id).stop_requested)

    def append_event(self, job_id: str, kind: str, message: str, data: dict[str, Any] | None = None) -> int:
        """Return the id of a new event; ids of a job's events grow in the order in which readers see them."""
        with self._database.transaction() as connection:
            self._row(connection, job_id)
            return self._append(connection, job_id, kind, message, data or {}, self._clock())

    def events(self, job_id: str, after: int = 0, limit: int = 1000) -> List[JobEvent]:
        """Return at most `limit` of the job's events whose id is above `after`, in order."""
        wanted = (
            select(job_events)
            .where(job_events.c.job_id == job_id, job_events.c.id > after)
            .order_by(job_events.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            self._row(connection, job_id)
            rows = connection.execute(wanted).all()
        return [JobEvent(id=r.id, job_id=r.job_id, at=r.at, kind=r.kind, message=r.message, data=r.data) for r in rows]

    def history(self, job_id: str) -> List[JobEvent]:
        """Return all events of the job, in order."""
        found: List[JobEvent] = []
        while page := self.events(job_id, after=found[-1].id if found else 0):
            found += page
        return found

    def _set(self, job_id: str, **values: Any) -> None:
        with self._database.transaction() as connection:
            if connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values)).rowcount == 0:
                raise _not_found(job_id)

    def _append(
        self, connection: Connection, job_id: str, kind: str, message: str, data: dict[str, Any], at: float
    ) -> int:
        row = insert(job_events).values(job_id=job_id, at=at, kind=kind, message=message, data=data)
        return int(connection.execute(row.returning(job_events.c.id)).scalar_one())

    def _read(self, connection: Connection, job_id: str) -> Job:
        row = self._row(connection, job_id)
        return _job(row, self._artefacts(connection, [job_id])[job_id])

    def _row(self, connection: Connection, job_id: str) -> Row[Any]:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None:
            raise _not_found(job_id)
        return row

    def _artefacts(self, connection: Connection, job_ids: List[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {job_id: {} for job_id in job_ids}
        for row in connection.execute(select(job_artefacts).where(job_artefacts.c.job_id.in_(job_ids))):
            found[row.job_id][row.name] = row.sha256
        return found


def _job(row: Row[Any], artefacts: dict[str, str]) -> Job:
    return Job(
        id=row.id,
        name=row.name,
        kind=row.kind,
        state=JobState(row.state),
        spec=JobSpec.model_validate(row.spec),  # also what a later version no longer runs
        spec_hash=row.spec_hash,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        message=row.message,
        progress=None if row.progress is None else Progress(**row.progress),
        submission_id=row.submission_id,
        stop_requested=row.stop_requested,
        heartbeat_at=row.heartbeat_at,
        artefacts=artefacts,
    )


def _not_found(job_id: str) -> NotFoundError:
    return NotFoundError(f"no job {job_id!r}; `nas jobs` lists them")


def _no_way(job_id: str, state: JobState, to: JobState) -> str:
    ways = sorted(s.value for s in JobState if state.may_become(s))
    allowed = f"it may become: {', '.join(ways)}" if ways else "it stays so"
    return f"job {job_id} is {state.value} and cannot become {to.value}; {allowed}"
