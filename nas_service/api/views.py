"""The answers' shapes: what the store knows, as JSON. Unknown is null or an absent key; times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from nas_service.candidate import Candidate, CandidateStatus
from nas_service.front_query import FrontPoint
from nas_service.job import JobSpec
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


def _fields(view: type[BaseModel], candidate: Candidate) -> dict[str, Any]:
    known = {name: getattr(candidate, name) for name in view.model_fields if hasattr(candidate, name)}
    coupling = candidate.architecture.get("coupling")
    return {**known, "status": candidate.status.value, "coupling": None if coupling is None else str(coupling)}
