"""How a request enters the queue: once, and anew only if it failed for want of a working board."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from nas_service.errors import InvalidRequestError
from nas_service.measurement import MeasurementRequest, RequestStatus
from nas_service.store.fleet_tables import board_classes, leases, measurement_requests


def check_class(connection: Connection, request: MeasurementRequest) -> None:
    """Raise InvalidRequestError unless the request's class exists and has the request's settings."""
    query = select(board_classes).where(board_classes.c.name == request.board_class)
    row = connection.execute(query).mappings().first()
    if row is None:
        known = [n for (n,) in connection.execute(select(board_classes.c.name).order_by(board_classes.c.name))]
        raise InvalidRequestError(
            f"unknown board class {request.board_class!r}; known: {', '.join(known) or 'none'}; "
            f"enrol a board: nas board add NAME --class {request.board_class}"
        )
    if row["settings"] != request.settings.to_dict():
        raise InvalidRequestError(
            f"board class {request.board_class!r} measures with {row['settings']} but the request has "
            f"{request.settings.to_dict()}; take the class's settings"
        )


def enqueue(connection: Connection, request: MeasurementRequest, *, now: float) -> None:
    """Queue a request that is new, or that failed through no fault of its model; leave any other as it is."""
    table, key = measurement_requests, request.measurement_key
    row = connection.execute(select(table).where(table.c.measurement_key == key)).mappings().first()
    if row is None:
        connection.execute(table.insert().values(_new_row(request, now=now)))
        return
    changes: dict[str, Any] = {}
    if row["state"] == RequestStatus.FAILED.value and row["retryable"]:
        fresh = _new_row(request, now=now)
        kept = ("measurement_key", "grants", "created_at")
        changes = {name: value for name, value in fresh.items() if name not in kept}
        connection.execute(leases.update().where(leases.c.measurement_key == key).values(failed_board=False))
    elif row["state"] == RequestStatus.QUEUED.value and request.priority > row["priority"]:
        changes = {"priority": request.priority, "updated_at": now}
    if changes:
        connection.execute(table.update().where(table.c.measurement_key == key).values(**changes))


def _new_row(request: MeasurementRequest, *, now: float) -> dict[str, Any]:
    return {
        "measurement_key": request.measurement_key,
        "structure_key": request.structure_key,
        "board_class": request.board_class,
        "tier": request.tier,
        "half": request.half,
        "model_sha256": request.model.sha256,
        "model_size_bytes": request.model.size_bytes,
        "settings": request.settings.to_dict(),
        "job_id": request.job_id,
        "priority": request.priority,
        **unmeasured(now=now),
        "twin_of": None,
    }


def unmeasured(*, now: float) -> dict[str, Any]:
    """Return the columns of a request that no board has had."""
    return {
        "state": RequestStatus.QUEUED.value,
        "grants": 0,
        "attempts": 0,
        "infra_faults": 0,
        "not_before": 0.0,
        "retryable": False,
        "cause": None,
        "result_id": None,
        "created_at": now,
        "updated_at": now,
    }
