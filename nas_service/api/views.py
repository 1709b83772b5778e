"""The answers' shapes: what the store knows, as JSON. Unknown is null or an absent key; times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from edge_agent.records import RuntimeSettings
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.fleet import Board, Measurement, StandingLease
from nas_service.front_query import FrontPoint
from nas_service.job import JobSpec
from nas_service.presence import Presence, presence
from nas_service.quarantine import Quarantine
from nas_service.store.job_record import Job
from nas_service.store.tokens import Token

Threshold = float | str


class ProgressView(BaseModel):
    """How far a job's present phase has come."""

    phase: str
    done: float
    total: float | None
    detail: str


class JobView(BaseModel):
    """A job."""

    id: str
    name: str
    kind: str
    state: str
    message: str | None
    progress: ProgressView | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    heartbeat_at: float | None
    stop_requested: bool
    submission_id: str | None
    spec: dict[str, Any]
    spec_hash: str
    artefacts: dict[str, str] = Field(description="SHA-256 by name, such as `supernet`")
    candidates: dict[str, int] | None = Field(default=None, description="How many candidates have each status")

    @classmethod
    def of(cls, job: Job, counts: Mapping[CandidateStatus, int] | None = None) -> JobView:
        """Return the view of a job, with the number of its candidates by status if these were counted."""
        candidates = None if counts is None else {status.value: count for status, count in counts.items()}
        return cls.model_validate({**job.to_dict(), "candidates": candidates})


class JobList(BaseModel):
    """Jobs, newest first; `next_before` asks for those that follow."""

    jobs: list[JobView]
    next_before: str | None


class JobPlan(BaseModel):
    """What a job would do, told without doing it."""

    dry_run: bool = True
    spec: dict[str, Any]
    spec_hash: str
    evaluations: int = Field(description="Candidates that may be evaluated, all strategies together")
    board_classes: list[str] = Field(description="Classes of the boards that would measure")

    @classmethod
    def of(cls, spec: JobSpec) -> JobPlan:
        """Return the plan of a job."""
        return cls(
            spec=spec.to_dict(),
            spec_hash=spec.hash(),
            evaluations=sum(strategy.evaluations for strategy in spec.strategy)
            + (0 if spec.compare is None else spec.compare.total),
            board_classes=list(spec.board_classes()),
        )


class CandidateView(BaseModel):
    """A candidate, without its curve."""

    id: str
    job_id: str
    number: int
    strategy: str
    strategy_index: int
    status: str
    coupling: str | None
    architecture: dict[str, Any]
    phenotype: str
    costs: dict[str, float]
    structures: dict[str, str]
    accuracies: dict[str, float] = Field(description="`little` and `big` in percent of `n` inputs, out of `of`")
    measurements: dict[str, dict[str, str]] = Field(description="Measurement key by half by board class")
    error: str | None
    seconds: dict[str, float]
    finalist: bool
    bundle_sha256: str | None
    final: dict[str, Any]
    split_hashes: dict[str, str]
    created_at: float
    finished_at: float | None

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateView:
        """Return the view of a candidate."""
        return cls.model_validate(_fields(cls, candidate))


class CandidateList(BaseModel):
    """Some of a job's candidates, by number."""

    candidates: list[CandidateView]


class CurveView(BaseModel):
    """Every worthwhile routing of one candidate, from `never` to `always` escalating; all lists are equally long."""

    thresholds: list[Threshold]
    accuracy: list[float] = Field(description="Shares in [0, 1]")
    escalation_rate: list[float] = Field(description="Shares in [0, 1]")
    values: dict[str, list[float]] = Field(description="Every known quantity at each threshold; `error` is in percent")


class CandidateDetail(CandidateView):
    """A candidate with its curve, what the searcher was told, and what boards measured of its halves."""

    curve: CurveView | None
    values: list[dict[str, Threshold]]
    boards: dict[str, dict[str, dict[str, float]]] = Field(
        description="Board class -> half -> latency_ms, energy_mj, memory_kib; unmeasured is absent"
    )

    @classmethod
    def of_parts(
        cls, candidate: Candidate, *, curve: CurveView | None, boards: Mapping[str, Mapping[str, Mapping[str, float]]]
    ) -> CandidateDetail:
        """Return the detailed view of a candidate."""
        return cls.model_validate({**_fields(CandidateView, candidate), "values": candidate.values,
                                   "curve": curve, "boards": boards})  # fmt: skip


class FrontPointView(BaseModel):
    """One operating point: a candidate at a threshold."""

    candidate_id: str
    number: int
    coupling: str
    threshold: Threshold = Field(description="Escalate when the score is below it; or `never`, `always`")
    accuracy: float = Field(description="Share in [0, 1]")
    escalation_rate: float = Field(description="Share in [0, 1]")
    routes: dict[str, float] = Field(description="Share of inputs that `little` and `big` answer")
    values: dict[str, float] = Field(description="Every known quantity; `error` is in percent, unmeasured is absent")

    @classmethod
    def of(cls, point: FrontPoint) -> FrontPointView:
        """Return the view of a point."""
        return cls.model_validate(point, from_attributes=True)


class FrontView(BaseModel):
    """The non-dominated operating points of a job, cheapest first."""

    job_id: str
    objectives: list[str] = Field(description="What the points are non-dominated in; all are minimised")
    axis: str = Field(description="The cost that the points are sorted by")
    board: str | None
    boards: list[str] = Field(description="Classes that candidates of this job were measured on")
    candidates: int = Field(description="How many finished candidates were considered")
    points: list[FrontPointView]


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


class TokenView(BaseModel):
    """A token without its secret."""

    name: str
    role: str
    created_at: float
    revoked_at: float | None

    @classmethod
    def of(cls, token: Token) -> TokenView:
        """Return the view of a token."""
        return cls(name=token.name, role=token.role.value, created_at=token.created_at, revoked_at=token.revoked_at)


class TokenList(BaseModel):
    """Tokens, oldest first."""

    tokens: list[TokenView]


class NewToken(BaseModel):
    """A fresh token with its secret, which is not shown again."""

    name: str
    role: str
    secret: str


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


def _fields(view: type[BaseModel], candidate: Candidate) -> dict[str, Any]:
    known = {name: getattr(candidate, name) for name in view.model_fields if hasattr(candidate, name)}
    coupling = candidate.architecture.get("coupling")
    return {**known, "status": candidate.status.value, "coupling": None if coupling is None else str(coupling)}
