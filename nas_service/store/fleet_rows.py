"""How rows of the fleet's tables become values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, select

from edge_agent.records import Artifact, Heartbeat, Lease, RecordError, Result, RuntimeSettings
from nas_service.fleet import (
    Board,
    BoardClass,
    BoardState,
    LeaseState,
    Measurement,
    PendingRequest,
    StandingLease,
)
from nas_service.measurement import RequestState, RequestStatus
from nas_service.store.fleet_tables import leases, measurement_requests, measurements


def board_of(row: RowMapping) -> Board:
    """Return the board in a row of `boards`."""
    return Board(
        name=row["name"],
        board_class=row["board_class"],
        public_key=row["public_key"],
        state=BoardState(row["state"]),
        enrolled_at=row["enrolled_at"],
        revoked_at=row["revoked_at"],
        incarnation=row["incarnation"],
        incarnation_since=row["incarnation_since"],
        heartbeat=_heartbeat_of(row["heartbeat"]),
        last_seen=row["last_seen"],
        mismatch=row["mismatch"],
        superseded=row["superseded"],
        rival_at=row["rival_at"],
    )


def _heartbeat_of(raw: Any) -> Heartbeat | None:
    try:
        return None if raw is None else Heartbeat.from_dict(raw)
    except RecordError:  # kept by a version that asked for less; the next one comes within seconds
        return None


def class_of(row: RowMapping) -> BoardClass:
    """Return the class in a row of `board_classes`."""
    return BoardClass(
        name=row["name"],
        fingerprint=row["fingerprint"],
        settings=RuntimeSettings.from_dict(row["settings"]),
        created_at=row["created_at"],
    )


def pending_of(row: RowMapping, tried: frozenset[str], *, barred: frozenset[str] = frozenset()) -> PendingRequest:
    """Return the request in a row of `measurement_requests`."""
    return PendingRequest(
        measurement_key=row["measurement_key"],
        board_class=row["board_class"],
        settings=RuntimeSettings.from_dict(row["settings"]),
        model_sha256=row["model_sha256"],
        tier=row["tier"],
        priority=row["priority"],
        created_at=row["created_at"],
        not_before=row["not_before"],
        attempts=row["attempts"],
        infra_faults=row["infra_faults"],
        tried=tried,
        twin_of=row["twin_of"],
        barred=barred,
    )


# A lease with what its request adds; `request_state` and `grants` say whether it is the one that counts.
LEASE_COLUMNS = (
    leases,
    measurement_requests.c.structure_key,
    measurement_requests.c.board_class,
    measurement_requests.c.tier,
    measurement_requests.c.half,
    measurement_requests.c.settings,
    measurement_requests.c.state.label("request_state"),
    measurement_requests.c.grants,
)


def lease_of(row: RowMapping) -> Lease:
    """Return the lease in a row of LEASE_COLUMNS, as it goes to the board."""
    return Lease(
        lease_id=row["lease_id"],
        token=row["token"],
        board=row["board"],
        board_class=row["board_class"],
        tier=row["tier"],
        half=row["half"],
        model=Artifact(sha256=row["model_sha256"], size_bytes=row["model_size_bytes"]),
        structure_key=row["structure_key"],
        measurement_key=row["measurement_key"],
        settings=RuntimeSettings.from_dict(row["settings"]),
        ttl_s=row["ttl_s"],
        deadline_unix_s=row["deadline"],
        attempt=row["attempt"],
    )


def standing_of(row: RowMapping) -> StandingLease:
    """Return the standing lease in a row of LEASE_COLUMNS."""
    return StandingLease(lease=lease_of(row), granted_at=row["granted_at"], incarnation=row["incarnation"])


def still_counts(row: RowMapping) -> bool:
    """Return whether a row of LEASE_COLUMNS is the newest grant of a request that waits for it."""
    return (
        row["state"] == LeaseState.GRANTED
        and row["request_state"] == RequestStatus.LEASED
        and bool(row["grants"] == row["attempt"])
    )


def measurement_of(row: RowMapping) -> Measurement | None:
    """Return the measurement in a row of `measurements`; None if a version that asked for less kept what is none."""
    try:
        return Measurement(result=Result.from_dict(row["result"]), late=row["late"], received_at=row["received_at"])
    except RecordError:
        return None


def tried_boards(connection: Connection, keys: list[str] | None = None) -> dict[str, frozenset[str]]:
    """Return, by request, the boards that have failed it; of all requests if `keys` is None."""
    query = select(leases.c.measurement_key, leases.c.board).where(leases.c.failed_board)
    if keys is not None:
        query = query.where(leases.c.measurement_key.in_(keys))
    found: dict[str, set[str]] = {}
    for key, board in connection.execute(query):
        found.setdefault(key, set()).add(board)
    return {key: frozenset(names) for key, names in found.items()}


def states_of(connection: Connection, keys: list[str]) -> dict[str, RequestState]:
    """Return what has come of the requests with these keys; an unknown key is absent."""
    joined = measurement_requests.outerjoin(measurements, measurement_requests.c.result_id == measurements.c.result_id)
    query = select(
        measurement_requests.c.measurement_key,
        measurement_requests.c.state,
        measurement_requests.c.cause,
        measurements.c.result,
    ).select_from(joined)
    found: dict[str, RequestState] = {}
    for start in range(0, len(keys), 500):  # databases bound the number of parameters
        part = query.where(measurement_requests.c.measurement_key.in_(keys[start : start + 500]))
        for row in connection.execute(part).mappings():
            found[row["measurement_key"]] = _state_of(row)
    return found


def _state_of(row: RowMapping) -> RequestState:
    status, cause = RequestStatus(row["state"]), row["cause"]
    try:
        result = None if row["result"] is None else Result.from_dict(row["result"])
    except RecordError as error:  # kept by a version that asked for less
        status, result, cause = RequestStatus.FAILED, None, f"its stored result cannot be used: {error}"
    return RequestState(
        measurement_key=row["measurement_key"],
        state=status,
        result=result,
        cause=cause if status is RequestStatus.FAILED else None,
    )
