"""What a report is made of: values only, so that the same data always give the same report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from nas_service.comparison import Comparison
from nas_service.errors import InvalidRequestError
from nas_service.server_events import JobEvent
from nas_service.trajectory import Trajectory
from nas_service.tuning import Tuning

COUPLINGS = ("independent", "stem", "nested", "triangular")
HALVES = ("little", "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCurve:
    """A candidate at all its thresholds, from never to always escalating; shares in [0, 1], all of one length."""

    thresholds: tuple[float | str, ...]
    accuracy: tuple[float, ...]
    escalation_rate: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.thresholds), len(self.accuracy), len(self.escalation_rate)}
        if len(sizes) != 1 or sizes == {0}:
            raise InvalidRequestError(f"a curve's columns have the lengths {sorted(sizes)} but must have one, above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMeasurement:
    """One figure of one board: `mean_ms` with its 95 % interval, peak memory, and energy where a sensor told it.

    `board_s` is what the board spent on it, in seconds, and `received_at` when it was known, in unix seconds.
    """

    measurement_key: str
    board: str
    board_class: str
    tier: str
    half: str
    grade: str
    status: str
    n: int | None = None
    mean_ms: float | None = None
    ci95_ms: tuple[float, float] | None = None
    p90_ms: float | None = None
    memory_kib: float | None = None
    energy_mj: float | None = None
    energy_source: str | None = None
    board_s: float | None = None
    received_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCandidate:
    """One candidate. `measurements`: measurement key by half by board class; `values`: what the searcher was told."""

    id: str
    number: int
    strategy: str
    coupling: str
    status: str
    costs: dict[str, float] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    curve: ReportCurve | None = None
    measurements: dict[str, dict[str, str]] = field(default_factory=dict)
    values: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    created_at: float | None = None
    finished_at: float | None = None
    finalist: bool = False
    final: dict[str, Any] = field(default_factory=dict)
    split_hashes: dict[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether its evaluation ended early, so that its curve is of some of the images only."""
        return self.accuracies.get("n", 0.0) < self.accuracies.get("of", 0.0)

    @property
    def final_measurements(self) -> dict[str, dict[str, str]]:
        """A finalist's own measurements, perhaps of a higher tier; those of the search if there are no others."""
        return self.final.get("measurements") or self.measurements


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPoint:
    """One point of the job's front; `values` are by objective, and what was not measured is absent."""

    candidate_id: str
    coupling: str
    threshold: float | str
    accuracy: float
    escalation_rate: float
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """What one epoch of supernet training gave, by name."""

    epoch: int
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything a report says; times are unix seconds."""

    job_id: str
    name: str
    kind: str
    state: str
    spec: dict[str, Any]
    spec_hash: str | None = None
    message: str | None = None
    created_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    version: str | None = None
    objectives: tuple[str, ...] = ()
    front: tuple[ReportPoint, ...] = ()
    candidates: tuple[ReportCandidate, ...] = ()
    measurements: tuple[ReportMeasurement, ...] = ()
    training: tuple[TrainingPoint, ...] = ()
    trajectory: Trajectory | None = None
    tuning: Tuning | None = None
    comparison: Comparison | None = None
    audits: tuple[JobEvent, ...] = ()
    artefacts: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> tuple[ReportCandidate, ...]:
        """The candidates that were evaluated to the end, in the order in which they finished."""
        ended = [c for c in self.candidates if c.status == "finished"]
        return tuple(sorted(ended, key=lambda c: (c.finished_at or 0.0, c.number)))

    @property
    def over(self) -> tuple[ReportCandidate, ...]:
        """The candidates that spent an evaluation, failed ones too, in the order in which they ended."""
        ended = [c for c in self.candidates if c.status in ("finished", "failed")]
        return tuple(sorted(ended, key=lambda c: (math.inf if c.finished_at is None else c.finished_at, c.number)))

    @property
    def finalists(self) -> tuple[ReportCandidate, ...]:
        """The finalists, by number."""
        return tuple(sorted((c for c in self.candidates if c.finalist), key=lambda c: c.number))

    @property
    def board_classes(self) -> tuple[str, ...]:
        """The classes that anything was measured on, by name."""
        return tuple(sorted({m.board_class for m in self.measurements if m.mean_ms is not None}))

    def measurement(
        self, candidate: ReportCandidate, board_class: str, half: str, *, final: bool = False
    ) -> ReportMeasurement | None:
        """Return the figure that stands for a candidate's half on a class: the first good one of its key.

        `final` asks for the finalist's own measurement instead of the search's.
        """
        measurements = candidate.final_measurements if final else candidate.measurements
        key = measurements.get(board_class, {}).get(half)
        good = (m for m in self.measurements if m.measurement_key == key and m.status == "ok" and m.mean_ms is not None)
        return next(good, None) if key else None
