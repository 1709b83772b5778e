"""The shapes of answers about boards and what they measured; as in nas_service.api.views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from edge_agent.records import RuntimeSettings
from nas_service.fleet import Board, Measurement, StandingLease
from nas_service.presence import Presence, presence
from nas_service.quarantine import Quarantine


class BoardWork(BaseModel):
    """What a board has the right to measure now."""

    lease_id: str
    measurement_key: str
    tier: str
    half: str
    granted_at: float
    deadline: float


class BoardView(BaseModel):
    """A board."""

    name: str
    board_class: str
    state: str = Field(description="ready, draining, or quarantined: it gets no leases for a while")
    reason: str | None = Field(description="Why it gets no leases; None for one that does")
    until: float | None = Field(description="When its quarantine ends by itself; None if a person must end it")
    presence: Presence = Field(
        description="New, here, suspect after 30 s of unannounced silence, lost after 60 s, stopped"
    )
    activity: str | None = Field(description="What it last said it does: idle, fetching, cooling, measuring, stopping")
    lease: str | None = Field(description="The id of its oldest standing lease")
    leases: list[BoardWork]
    last_seen: float | None
    enrolled_at: float
    incarnation: str | None
    mismatch: str | None = Field(description="How it departs from its class; such a board gets no leases")
    agent_version: str | None
    settings: dict[str, Any] = Field(description="Its class's: provider, threads, memory limit, deadlines")
    fingerprint: dict[str, Any] | None
    health: dict[str, Any] | None

    @classmethod
    def of(
        cls,
        board: Board,
        leases: Sequence[StandingLease],
        *,
        settings: RuntimeSettings,
        now: float,
        quarantine: Quarantine | None = None,
    ) -> BoardView:
        """Return the view of a board with its class's settings and the leases that it has, at unix time `now`."""
        beat, obstacle = board.heartbeat, board.obstacle(now=now)
        work = [_work(lease) for lease in leases]
        return cls(
            name=board.name,
            board_class=board.board_class,
            state="quarantined" if quarantine and board.may_lease(now=now) else board.state.value,
            reason=obstacle or (quarantine.reason if quarantine else None),
            until=quarantine.until if quarantine else None,
            presence=presence(
                board.last_seen,
                None if beat is None else beat.quiet_until_unix_s,
                now=now,
                stopped=beat is not None and beat.state == "stopping",
            ),
            activity=None if beat is None else beat.state,
            lease=work[0].lease_id if work else None,
            leases=work,
            last_seen=board.last_seen,
            enrolled_at=board.enrolled_at,
            incarnation=board.incarnation,
            mismatch=board.mismatch,
            agent_version=None if beat is None else beat.agent_version,
            settings=settings.to_dict(),
            fingerprint=None if beat is None else beat.fingerprint,
            health=None if beat is None else beat.health,
        )


class ExpectedBoardView(BaseModel):
    """A board that was added and waits to enrol."""

    name: str
    board_class: str
    expires_at: float = Field(description="When its code ends, in unix seconds")


class BoardListView(BaseModel):
    """The boards that have not been removed, and those that were added but have not enrolled, by name."""

    boards: list[BoardView]
    expected: list[ExpectedBoardView]


class NewBoard(BaseModel):
    """A board's name and class, and the one-time code by which it becomes known; the code is not shown again."""

    name: str
    board_class: str
    code: str


class MeasurementView(BaseModel):
    """What a board answered to one lease. What was not measured is null."""

    result_id: str
    measurement_key: str
    structure_key: str
    board: str
    board_class: str
    tier: str
    half: str
    status: str
    grade: str
    fault: str | None
    cause: str | None
    attempt: int
    model_sha256: str
    latency: dict[str, Any] | None
    memory: dict[str, Any] | None = Field(description="With `memory_kib`, the objective")
    energy: dict[str, Any] | None
    sensor_fault: dict[str, Any] | None = Field(description="Why there is no energy although a sensor was named")
    pair: dict[str, Any] | None = Field(description="Of a pair measured whole: its routes and how they were weighted")
    runtime: dict[str, Any]
    health: dict[str, Any]
    phases_s: dict[str, float]
    finished_at: float
    received_at: float
    late: bool = Field(description="An extra sample, which completed no request")

    @classmethod
    def of(cls, measurement: Measurement) -> MeasurementView:
        """Return the view of a stored result."""
        result = measurement.result
        data = result.to_dict()
        memory = None if result.memory is None else {**data["memory"], "memory_kib": result.memory.memory_kib}
        own = {"memory": memory, "finished_at": result.finished_unix_s,
               "received_at": measurement.received_at, "late": measurement.late}  # fmt: skip
        return cls.model_validate({**data, **own})


class MeasurementList(BaseModel):
    """Some of the boards' results, newest first."""

    measurements: list[MeasurementView]


def _work(standing: StandingLease) -> BoardWork:
    lease = standing.lease
    return BoardWork(
        lease_id=lease.lease_id,
        measurement_key=lease.measurement_key,
        tier=lease.tier,
        half=lease.half,
        granted_at=standing.granted_at,
        deadline=lease.deadline_unix_s,
    )
