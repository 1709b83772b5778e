"""Leases and results in the database: every change is one transaction that looks again before it writes.

What is decided is decided elsewhere (cluster/gateway/leasing.py); here it is carried out, unless meanwhile it no longer
holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Update, func, select

from edge_agent.records import Lease, Result
from nas_service.fleet import BoardState, LeaseState, PendingRequest, Receipt, Settlement, StandingLease
from nas_service.measurement import RequestStatus
from nas_service.quarantine import ENDINGS_LOOKED_AT, Ending
from nas_service.store.database import Database
from nas_service.store.fleet_rows import (
    LEASE_COLUMNS,
    lease_of,
    pending_of,
    standing_of,
    still_counts,
    tried_boards,
)
from nas_service.store.fleet_tables import boards, leases, measurement_requests, measurements
from nas_service.store.twins import add_twin, barred_boards, may_measure


class LeaseStore:
    """The queue of requests and the leases on them; safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def queued(self) -> list[PendingRequest]:
        """Return the requests that wait for a board."""
        query = select(measurement_requests).where(measurement_requests.c.state == RequestStatus.QUEUED.value)
        with self._db.reading() as connection:
            rows = connection.execute(query).mappings().all()
            tried = tried_boards(connection) if rows else {}
            barred = barred_boards(connection) if any(row["twin_of"] for row in rows) else {}
        nobody: frozenset[str] = frozenset()
        return [
            pending_of(row, tried.get(row["measurement_key"], nobody), barred=barred.get(row["twin_of"], nobody))
            for row in rows
        ]

    def standing(self) -> list[StandingLease]:
        """Return the leases that stand, oldest first."""
        query = _leases().where(leases.c.state == LeaseState.GRANTED.value).order_by(leases.c.token)
        with self._db.reading() as connection:
            return [standing_of(row) for row in connection.execute(query).mappings()]

    def lease(self, lease_id: str) -> Lease | None:
        """Return a lease, whether it stands or not; None if it was never granted."""
        with self._db.reading() as connection:
            row = _row(connection, lease_id)
        return None if row is None else lease_of(row)

    def grant(
        self, measurement_key: str, *, board: str, ttl_s: float, deadline: float, now: float, holding_limit: int
    ) -> Lease | None:
        """Lease a queued request to a board, under a token higher than any before.

        Returns:
            The lease; None if the request is no longer queued, or the board may not, or already holds enough.
        """
        with self._db.transaction() as connection:
            request = _request(connection, measurement_key)
            holder = connection.execute(select(boards).where(boards.c.name == board)).mappings().first()
            if request is None or request["state"] != RequestStatus.QUEUED.value or holder is None:
                return None
            if holder["state"] != BoardState.READY.value or holder["mismatch"] is not None:
                return None
            if _held(connection, board) >= holding_limit or not may_measure(connection, request, board):
                return None
            token = (connection.execute(select(func.max(leases.c.token))).scalar() or 0) + 1
            lease_id = f"{measurement_key[:16]}-{token}"
            connection.execute(
                leases.insert().values(
                    lease_id=lease_id,
                    measurement_key=measurement_key,
                    board=board,
                    incarnation=holder["incarnation"],
                    token=token,
                    attempt=request["grants"] + 1,
                    model_sha256=request["model_sha256"],
                    model_size_bytes=request["model_size_bytes"],
                    granted_at=now,
                    ttl_s=ttl_s,
                    deadline=deadline,
                    state=LeaseState.GRANTED.value,
                    failed_board=False,
                )
            )
            connection.execute(
                _update_request(measurement_key).values(
                    state=RequestStatus.LEASED.value, grants=request["grants"] + 1, updated_at=now
                )
            )
            row = _row(connection, lease_id)
        assert row is not None
        return lease_of(row)

    def adopt(self, board: str) -> None:
        """Let the board's present incarnation keep the leases that stand."""
        present = select(boards.c.incarnation).where(boards.c.name == board).scalar_subquery()
        with self._db.transaction() as connection:
            connection.execute(
                leases.update()
                .where(leases.c.board == board, leases.c.state == LeaseState.GRANTED.value)
                .values(incarnation=present)
            )

    def expire(self, lease_id: str, *, cause: str, settle: Callable[[PendingRequest], Settlement], now: float) -> bool:
        """End a lease without a result and settle its request; False if it had ended before."""
        with self._db.transaction() as connection:
            row = _row(connection, lease_id)
            if row is None or row["state"] != LeaseState.GRANTED.value:
                return False
            counts = still_counts(row)
            settlement = settle(_pending(connection, row["measurement_key"])) if counts else None
            connection.execute(
                leases.update()
                .where(leases.c.lease_id == lease_id)
                .values(
                    state=LeaseState.EXPIRED.value,
                    cause=cause,
                    failed_board=settlement is not None and settlement.blames_board,
                )
            )
            if settlement is not None:
                _apply(connection, row["measurement_key"], settlement, result_id=None, now=now)
        return True

    def record(self, result: Result, *, settle: Callable[[PendingRequest], Settlement], received_at: float) -> Receipt:
        """Store the result of a lease, once, and settle its request if the lease stands; otherwise keep it as late.

        The caller has checked that the result fits its lease. A good one may bring about a twin of its request.
        """
        with self._db.transaction() as connection:
            row = _row(connection, result.lease_id)
            if row is None:
                return Receipt(stored=False, reason=f"lease {result.lease_id} was never granted")
            if _is_stored(connection, result):
                return Receipt(stored=True, duplicate=True)
            counts = still_counts(row)
            _insert(connection, result, late=not counts, received_at=received_at)
            if counts:
                settlement = settle(_pending(connection, result.measurement_key))
                kept = settlement.state in (RequestStatus.DONE, RequestStatus.FAILED)
                _apply(
                    connection,
                    result.measurement_key,
                    settlement,
                    result_id=result.result_id if kept else None,
                    now=received_at,
                )
                connection.execute(
                    leases.update()
                    .where(leases.c.lease_id == result.lease_id)
                    .values(
                        state=LeaseState.ANSWERED.value, cause=settlement.cause, failed_board=settlement.blames_board
                    )
                )
                if settlement.state is RequestStatus.DONE and result.status == "ok":
                    add_twin(connection, result.measurement_key, now=received_at)
        return Receipt(stored=True, late=not counts)

    def fail(self, measurement_key: str, *, cause: str, now: float) -> None:
        """Fail a queued request that no board can serve, such as one without its file; it may be asked for anew."""
        with self._db.transaction() as connection:
            connection.execute(
                _update_request(measurement_key)
                .where(measurement_requests.c.state == RequestStatus.QUEUED.value)
                .values(state=RequestStatus.FAILED.value, cause=cause, retryable=True, updated_at=now)
            )

    def endings(self) -> dict[str, list[Ending]]:
        """Return, for each board that something speaks against, how its last leases ended, newest first.

        What is the infrastructure's fault, or ended a lease that was not the one worked on, is left out.
        """
        suspects = select(leases.c.board).where(leases.c.failed_board).distinct()
        with self._db.reading() as connection:
            names = [name for (name,) in connection.execute(suspects)]
            return {name: _endings(connection, name) for name in names}

    def pardon(self, board: str) -> None:
        """Hold nothing against a board any more; its measurements stay."""
        with self._db.transaction() as connection:
            connection.execute(leases.update().where(leases.c.board == board).values(failed_board=False))

    def received_since(self, since: float) -> list[tuple[str, str]]:
        """Return (board, result id) of the results that arrived since then."""
        query = select(measurements.c.board, measurements.c.result_id).where(measurements.c.received_at >= since)
        with self._db.reading() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]


def _endings(connection: Connection, board: str) -> list[Ending]:
    told = (measurements.c.measurement_key == leases.c.measurement_key) & (measurements.c.board == leases.c.board)
    joined = leases.outerjoin(measurements, told & (measurements.c.attempt == leases.c.attempt))
    query = (
        select(leases, measurements.c.status, measurements.c.received_at)
        .select_from(joined)
        .where(leases.c.board == board, leases.c.state != LeaseState.GRANTED.value)
        .where(leases.c.failed_board | (measurements.c.status == "ok"))
        .order_by(leases.c.token.desc())
        .limit(ENDINGS_LOOKED_AT)
    )
    return [
        Ending(
            at=row["granted_at"] if row["received_at"] is None else row["received_at"],
            against_board=row["failed_board"],
            status=row["status"],
            cause=row["cause"],
        )
        for row in connection.execute(query).mappings()
    ]


def _leases() -> Select[Any]:
    joined = leases.join(measurement_requests, leases.c.measurement_key == measurement_requests.c.measurement_key)
    return select(*LEASE_COLUMNS).select_from(joined)


def _row(connection: Connection, lease_id: str) -> RowMapping | None:
    row: RowMapping | None = connection.execute(_leases().where(leases.c.lease_id == lease_id)).mappings().first()
    return row


def _request(connection: Connection, key: str) -> RowMapping | None:
    query = select(measurement_requests).where(measurement_requests.c.measurement_key == key)
    return connection.execute(query).mappings().first()


def _pending(connection: Connection, key: str) -> PendingRequest:
    row = _request(connection, key)
    assert row is not None
    return pending_of(row, tried_boards(connection, [key]).get(key, frozenset()))


def _held(connection: Connection, board: str) -> int:
    query = select(func.count()).where(leases.c.board == board, leases.c.state == LeaseState.GRANTED.value)
    return int(connection.execute(query).scalar_one())


def _update_request(key: str) -> Update:
    return measurement_requests.update().where(measurement_requests.c.measurement_key == key)


def _is_stored(connection: Connection, result: Result) -> bool:
    same_id = measurements.c.result_id == result.result_id
    same_try = (
        (measurements.c.measurement_key == result.measurement_key)
        & (measurements.c.board == result.board)
        & (measurements.c.attempt == result.attempt)
    )
    return connection.execute(select(measurements.c.result_id).where(same_id | same_try)).first() is not None


def _insert(connection: Connection, result: Result, *, late: bool, received_at: float) -> None:
    connection.execute(
        measurements.insert().values(
            result_id=result.result_id,
            measurement_key=result.measurement_key,
            board=result.board,
            attempt=result.attempt,
            board_class=result.board_class,
            structure_key=result.structure_key,
            tier=result.tier,
            half=result.half,
            status=result.status,
            late=late,
            received_at=received_at,
            result=result.to_dict(),
        )
    )


def _apply(connection: Connection, key: str, settlement: Settlement, *, result_id: str | None, now: float) -> None:
    connection.execute(
        _update_request(key).values(
            state=settlement.state.value,
            attempts=settlement.attempts,
            infra_faults=settlement.infra_faults,
            not_before=settlement.not_before,
            retryable=settlement.retryable,
            cause=settlement.cause,
            result_id=result_id,
            updated_at=now,
        )
    )
