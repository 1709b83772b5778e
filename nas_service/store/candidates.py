"""Candidates in the store: asked for once, changed only forwards, finished together with the searcher's state."""

from __future__ import annotations

import hashlib
import json
import time
from builtins import list as List  # the store has a method of that name
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from nas_service.candidate import FINALIST_FIELDS, Candidate, CandidateStatus, Proposal
from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.ids import candidate_id
from nas_service.store.database import Database
from nas_service.store.tables import candidates, jobs, search_states

_FIELDS = tuple(f.name for f in fields(Candidate))
_IDENTITY = (
    "job_id",
    "number",
    "strategy_index",
    "strategy",
    "architecture",
    "phenotype",
    "created_at",
)


class CandidateStore:
    """The candidates of a store's jobs, and the states of the searchers that asked for them."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def asked(
        self,
        job_id: str,
        strategy_index: int,
        strategy: str,
        proposals: Sequence[Proposal | tuple[dict[str, Any], str, dict[str, float], dict[str, str]]],
    ) -> List[Candidate]:
        """Return the candidates of `proposals`, in their order: new ones, numbered on, and those known already.

        A phenotype that the job has is returned as it is, whoever asked for it first.

        Raises:
            NotFoundError: there is no such job.
        """
        with self._database.transaction() as connection:
            _check_job(connection, job_id)
            last = connection.execute(select(func.max(candidates.c.number)).where(candidates.c.job_id == job_id))
            number = int(last.scalar_one() or 0)
            result = []
            for proposal in (Proposal(*p) for p in proposals):
                known = self._by_phenotype(connection, job_id, proposal.phenotype)
                if known is None:
                    number += 1
                    known = self._new(job_id, number, strategy_index, strategy, proposal)
                    connection.execute(insert(candidates).values(**_row_of(known)))
                result.append(known)
            return result

    def update(self, candidate: Candidate) -> None:
        """Keep what is newly known of a candidate; a curve of None leaves the stored curve as it is.

        Raises:
            NotFoundError: there is no such candidate.
            ConflictError: it would change what a candidate is, go back in status, or change what a finished or failed
                one measured; only its finalist fields may change then.
        """
        with self._database.transaction() as connection:
            self._update(connection, candidate)

    def finish(self, candidate: Candidate, searcher_state: Mapping[str, Any] | None) -> None:
        """Keep a finished or failed candidate and the state of the searcher that was told of it, both or neither.

        Raises:
            InvalidRequestError: the candidate is neither finished nor failed.
            NotFoundError, ConflictError: as `update`.
        """
        if not candidate.over:
            raise InvalidRequestError(
                f"candidate {candidate.id} is {candidate.status.value} but must be finished or failed to be finished"
            )
        with self._database.transaction() as connection:
            self._update(connection, candidate)
            if searcher_state is not None:
                self._save(connection, candidate.job_id, candidate.strategy_index, searcher_state)

    def get(self, candidate_id: str) -> Candidate:
        """Return the candidate with its curve; raise NotFoundError if there is none."""
        with self._database.reading() as connection:
            return self._read(connection, candidate_id)

    def list(
        self,
        job_id: str,
        *,
        status: CandidateStatus | None = None,
        strategy: int | str | None = None,
        finalists: bool | None = None,
        with_curves: bool = False,
        after: int = 0,
        limit: int | None = None,
    ) -> List[Candidate]:
        """Return a job's candidates by number.

        Args:
            job_id: the job; one that does not exist has no candidates.
            status: only those of this status.
            strategy: only those of this strategy, by index or name.
            finalists: only finalists (True) or the others (False).
            with_curves: whether to read the curves too; `curve` is None otherwise.
            after: only numbers above this one.
            limit: at most this many.
        """
        wanted = _select(with_curves).where(candidates.c.job_id == job_id, candidates.c.number > after)
        if status is not None:
            wanted = wanted.where(candidates.c.status == status.value)
        if strategy is not None:
            column = candidates.c.strategy_index if isinstance(strategy, int) else candidates.c.strategy
            wanted = wanted.where(column == strategy)
        if finalists is not None:
            wanted = wanted.where(candidates.c.finalist.is_(finalists))
        with self._database.reading() as connection:
            rows = connection.execute(wanted.order_by(candidates.c.number).limit(limit)).all()
        return [_candidate(row) for row in rows]

    def count(self, job_id: str) -> dict[CandidateStatus, int]:
        """Return how many candidates of the job have each status, 0 included."""
        wanted = (
            select(candidates.c.status, func.count()).where(candidates.c.job_id == job_id).group_by(candidates.c.status)
        )
        with self._database.reading() as connection:
            found = {CandidateStatus(status): n for status, n in connection.execute(wanted)}
        return {status: found.get(status, 0) for status in CandidateStatus}

    def save_search_state(self, job_id: str, strategy_index: int, state: Mapping[str, Any]) -> None:
        """Replace the state of the job's searcher; raise NotFoundError if there is no such job."""
        with self._database.transaction() as connection:
            _check_job(connection, job_id)
            self._save(connection, job_id, strategy_index, state)

    def search_state(self, job_id: str, strategy_index: int) -> dict[str, Any] | None:
        """Return the last state of the job's searcher, or None if there is none."""
        wanted = select(search_states.c.state).where(
            search_states.c.job_id == job_id, search_states.c.strategy_index == strategy_index
        )
        with self._database.reading() as connection:
            state: dict[str, Any] | None = connection.execute(wanted).scalar_one_or_none()
        return state

    def _new(self, job_id: str, number: int, strategy_index: int, strategy: str, proposal: Proposal) -> Candidate:
        return Candidate(
            id=candidate_id(job_id, number),
            job_id=job_id,
            number=number,
            strategy_index=strategy_index,
            strategy=strategy,
            created_at=self._clock(),
            **proposal._asdict(),
        )

    def _by_phenotype(self, connection: Connection, job_id: str, phenotype: str) -> Candidate | None:
        same = (candidates.c.job_id == job_id, candidates.c.phenotype_sha256 == _hash(phenotype))
        row = connection.execute(_select(True).where(*same)).first()
        return None if row is None else _candidate(row)

    def _read(self, connection: Connection, candidate_id: str) -> Candidate:
        row = connection.execute(_select(True).where(candidates.c.id == candidate_id)).first()
        if row is None:
            raise NotFoundError(f"no candidate {candidate_id!r}; `nas front JOB` lists those on a job's front")
        return _candidate(row)

    def _update(self, connection: Connection, candidate: Candidate) -> None:
        stored = self._read(connection, candidate.id)
        _check_change(stored, candidate)
        row = _row_of(candidate)
        if candidate.curve is None:
            del row["curve"]
        connection.execute(update(candidates).where(candidates.c.id == candidate.id).values(**row))

    def _save(self, connection: Connection, job_id: str, strategy_index: int, state: Mapping[str, Any]) -> None:
        values = {"state": dict(state), "saved_at": self._clock()}
        same = (search_states.c.job_id == job_id, search_states.c.strategy_index == strategy_index)
        if connection.execute(update(search_states).where(*same).values(**values)).rowcount == 0:
            connection.execute(insert(search_states).values(job_id=job_id, strategy_index=strategy_index, **values))


def _check_job(connection: Connection, job_id: str) -> None:
    if connection.execute(select(jobs.c.id).where(jobs.c.id == job_id)).first() is None:
        raise NotFoundError(f"no job {job_id!r}; `nas jobs` lists them")


def _check_change(stored: Candidate, new: Candidate) -> None:
    before, after = stored.to_dict(), new.to_dict()
    if new.curve is None:
        after["curve"] = before["curve"]
    changed = [n for n in _FIELDS if _json(before[n]) != _json(after[n])]
    if identity := [n for n in changed if n in _IDENTITY]:
        raise ConflictError(f"candidate {stored.id}: {', '.join(identity)} cannot change; ask for another candidate")
    if stored.over and (measured := [n for n in changed if n not in FINALIST_FIELDS]):
        raise ConflictError(
            f"candidate {stored.id} is {stored.status.value}, so its {', '.join(measured)} cannot change; "
            f"only {', '.join(sorted(FINALIST_FIELDS))} can"
        )
    if stored.status is not new.status and not stored.status.may_become(new.status):
        raise ConflictError(f"candidate {stored.id} is {stored.status.value} and cannot become {new.status.value}")


def _select(with_curves: bool) -> Select[Any]:
    return select(*(c for c in candidates.c if with_curves or c.name != "curve"))


def _row_of(candidate: Candidate) -> dict[str, Any]:
    row = {name: getattr(candidate, name) for name in _FIELDS}
    row["status"] = candidate.status.value
    row["values"] = list(candidate.values)
    row["phenotype_sha256"] = _hash(candidate.phenotype)
    return row


def _candidate(row: Row[Any]) -> Candidate:
    data: dict[str, Any] = {name: row._mapping.get(name) for name in _FIELDS}
    return Candidate(**data | {"status": CandidateStatus(row.status), "values": tuple(row._mapping["values"])})


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # a tuple and the list that it was stored as are the same


def _hash(phenotype: str) -> str:
    return hashlib.sha256(phenotype.encode()).hexdigest()
