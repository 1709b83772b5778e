"""Twins in the database: how one enters the queue, which boards may not have it, and what boards have in common."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, func, select

from nas_service.fleet import BoardState, SharedFigure
from nas_service.measurement import RequestStatus
from nas_service.store.fleet_tables import boards, measurement_requests, measurements
from nas_service.store.queue import unmeasured
from nas_service.twins import TWIN_PRIORITY, TWINS_WAITING_LIMIT, is_twinned, twin_key


def add_twin(connection: Connection, key: str, *, now: float) -> None:
    """Queue the twin of a request that has just got its good result, if it is to have one.

    There is none for a twin, for a class without a board that could measure it, and where enough twins wait.
    """
    if not is_twinned(key):
        return
    query = select(measurement_requests).where(measurement_requests.c.measurement_key == key)
    original = connection.execute(query).mappings().one()
    if original["twin_of"] is not None:
        return
    if not _members(connection, original["board_class"]) - _measured_by(connection, key):
        return
    if _waiting(connection, original["board_class"]) >= TWINS_WAITING_LIMIT or _exists(connection, twin_key(key)):
        return
    own = {
        "measurement_key": twin_key(key),
        "twin_of": key,
        "job_id": None,
        "priority": TWIN_PRIORITY,
        **unmeasured(now=now),
    }
    connection.execute(measurement_requests.insert().values({**original, **own}))


def may_measure(connection: Connection, request: RowMapping, board: str) -> bool:
    """Return whether a board may have a request: not a twin whose original it has measured."""
    return request["twin_of"] is None or board not in _measured_by(connection, request["twin_of"])


def barred_boards(connection: Connection) -> dict[str, frozenset[str]]:
    """Return, by original, the boards that may not have its twin, since they measured it; of all twins that wait."""
    waiting = select(measurement_requests.c.twin_of).where(
        measurement_requests.c.state == RequestStatus.QUEUED.value, measurement_requests.c.twin_of.is_not(None)
    )
    query = select(measurements.c.measurement_key, measurements.c.board).where(
        measurements.c.measurement_key.in_(waiting), measurements.c.status == "ok"
    )
    found: dict[str, set[str]] = {}
    for key, board in connection.execute(query):
        found.setdefault(key, set()).add(board)
    return {key: frozenset(names) for key, names in found.items()}


def shared_figures(connection: Connection, board_class: str, *, limit: int) -> list[SharedFigure]:
    """Return the good figures of the `limit` subjects that more than one board of a class measured last."""
    requests = measurement_requests
    subject = func.coalesce(requests.c.twin_of, requests.c.measurement_key).label("subject")
    good = (
        select(subject, measurements.c.board, measurements.c.received_at, measurements.c.result)
        .join_from(measurements, requests, measurements.c.measurement_key == requests.c.measurement_key)
        .where(measurements.c.board_class == board_class, measurements.c.status == "ok")
        .subquery()
    )
    shared = (
        select(good.c.subject)
        .group_by(good.c.subject)
        .having(func.count(good.c.board.distinct()) > 1)
        .order_by(func.max(good.c.received_at).desc(), good.c.subject)
        .limit(limit)
        .subquery()
    )
    query = select(good.c.subject, good.c.board, good.c.result).where(good.c.subject.in_(select(shared.c.subject)))
    return [
        SharedFigure(subject=subject, board=board, latency_ms=result["latency"]["mean_ms"])
        for subject, board, result in connection.execute(query)
    ]


def _members(connection: Connection, board_class: str) -> set[str]:
    """Return the boards of a class that were not removed; none if there is only one."""
    query = select(boards.c.name).where(boards.c.board_class == board_class, boards.c.state != BoardState.REMOVED.value)
    names = {name for (name,) in connection.execute(query)}
    return names if len(names) > 1 else set()


def _measured_by(connection: Connection, key: str) -> set[str]:
    query = select(measurements.c.board).where(measurements.c.measurement_key == key, measurements.c.status == "ok")
    return {board for (board,) in connection.execute(query)}


def _waiting(connection: Connection, board_class: str) -> int:
    query = select(func.count()).where(
        measurement_requests.c.state == RequestStatus.QUEUED.value,
        measurement_requests.c.board_class == board_class,
        measurement_requests.c.twin_of.is_not(None),
    )
    return int(connection.execute(query).scalar_one())


def _exists(connection: Connection, key: str) -> bool:
    query = select(measurement_requests.c.measurement_key).where(measurement_requests.c.measurement_key == key)
    return connection.execute(query).first() is not None
