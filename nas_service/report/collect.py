"""Collects a report's data from the service: job, front, candidates with curves, measurements, training events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from nas_service.comparison import Comparison
from nas_service.fidelity import AUDIT, PREDICTOR
from nas_service.report.data import (
    ReportCandidate,
    ReportCurve,
    ReportData,
    ReportMeasurement,
    ReportPoint,
    TrainingPoint,
)
from nas_service.server_events import JobEvent
from nas_service.trajectory import Trajectory, TrajectoryStep
from nas_service.tuning import Tuning

Json = dict[str, Any]


class Source(Protocol):
    """Where a report's data come from; the client is one."""

    def job(self, job_id: str) -> Json:
        """Return the job."""

    def front(self, job_id: str) -> Json:
        """Return the job's front."""

    def candidates(self, job_id: str) -> list[Json]:
        """Return the job's candidates, by number."""

    def candidate(self, candidate_id: str) -> Json:
        """Return one candidate with its curve."""

    def measurements(self) -> list[Json]:
        """Return the boards' results."""

    def version(self) -> str:
        """Return the service's version."""

    def past_events(self, job_id: str) -> Iterable[JobEvent]:
        """Return the job's events so far."""


def collect(source: Source, job_id: str) -> ReportData:
    """Return everything that a report on a job says; candidates without a curve are asked for no details."""
    job, front = source.job(job_id), source.front(job_id)
    details = [source.candidate(c["id"]) if c["status"] == "finished" else c for c in source.candidates(job_id)]
    candidates = tuple(candidate_from(c) for c in details)
    keys = {key for c in candidates for halves in (*c.measurements.values(), *c.final_measurements.values())
            for key in halves.values()}  # fmt: skip
    results = [measurement_from(m) for m in source.measurements()] if keys else []
    events = tuple(source.past_events(job_id))
    return ReportData(
        job_id=job["id"],
        name=job["name"],
        kind=job["kind"],
        state=job["state"],
        spec=job["spec"],
        spec_hash=job.get("spec_hash"),
        message=job.get("message"),
        created_at=job.get("created_at"),
        started_at=job.get("started_at"),
        finished_at=job.get("finished_at"),
        version=source.version(),
        objectives=tuple(job["spec"].get("objectives") or ()),
        front=tuple(point_from(p) for p in front["points"]),
        candidates=candidates,
        measurements=tuple(m for m in results if m.measurement_key in keys),
        training=training_from(events),
        trajectory=trajectory_from(events),
        tuning=Tuning.of(events) if job["kind"] == "tune" else None,
        comparison=Comparison.of(events) if job["kind"] == "compare" else None,
        audits=tuple(event for event in events if event.kind in (AUDIT, PREDICTOR)),
        artefacts=dict(job.get("artefacts") or {}),
    )


def candidate_from(view: Json) -> ReportCandidate:
    """Return a candidate as the API shows it."""
    curve = view.get("curve")
    return ReportCandidate(
        id=view["id"],
        number=view["number"],
        strategy=view["strategy"],
        coupling=view.get("coupling") or "unknown",
        status=view["status"],
        costs=view["costs"],
        accuracies=view["accuracies"],
        curve=None
        if curve is None
        else ReportCurve(
            thresholds=tuple(curve["thresholds"]),
            accuracy=tuple(curve["accuracy"]),
            escalation_rate=tuple(curve["escalation_rate"]),
        ),
        measurements=view["measurements"],
        values=tuple(view.get("values") or ()),
        error=view.get("error"),
        created_at=view.get("created_at"),
        finished_at=view.get("finished_at"),
        finalist=view["finalist"],
        final=view.get("final") or {},
        split_hashes=view.get("split_hashes") or {},
    )


def point_from(view: Json) -> ReportPoint:
    """Return a front's point as the API shows it."""
    return ReportPoint(
        candidate_id=view["candidate_id"],
        coupling=view["coupling"],
        threshold=view["threshold"],
        accuracy=view["accuracy"],
        escalation_rate=view["escalation_rate"],
        values=view["values"],
    )


def measurement_from(view: Json) -> ReportMeasurement:
    """Return a board's result (`edge_agent.records.Result` as JSON)."""
    latency, memory, energy = view.get("latency") or {}, view.get("memory") or {}, view.get("energy") or {}
    low, high = latency.get("mean_ci95_low_ms"), latency.get("mean_ci95_high_ms")
    peaks = [memory[name] for name in ("peak_load_kib", "peak_run_kib") if memory.get(name) is not None]
    return ReportMeasurement(
        measurement_key=view["measurement_key"],
        board=view["board"],
        board_class=view["board_class"],
        tier=view["tier"],
        half=view["half"],
        grade=view.get("grade") or "bronze",
        status=view["status"],
        n=latency.get("n"),
        mean_ms=latency.get("mean_ms"),
        ci95_ms=None if low is None or high is None else (low, high),
        p90_ms=latency.get("p90_ms"),
        memory_kib=max(peaks) - memory["baseline_kib"] if peaks else None,
        energy_mj=energy.get("gross_mj"),
        energy_source=energy.get("source"),
        board_s=(view.get("phases_s") or {}).get("wall"),
        received_at=view.get("received_at"),
    )


def training_from(events: Iterable[JobEvent]) -> tuple[TrainingPoint, ...]:
    """Return the epochs that events tell of; an epoch told twice, as after a resume, counts as told last."""
    epochs: dict[int, TrainingPoint] = {}
    for event in events:
        epoch = event.data.get("epoch")
        if isinstance(epoch, int) and not isinstance(epoch, bool):
            epochs[epoch] = TrainingPoint(epoch=epoch, figures=_training_figures(event.data))
    return tuple(epochs[epoch] for epoch in sorted(epochs) if epochs[epoch].figures)


def trajectory_from(events: Iterable[JobEvent]) -> Trajectory | None:
    """Return how dimensions evolved by what the epochs' events tell; None if none tells of it."""
    found: Trajectory | None = None
    for event in events:
        if isinstance(told := event.data.get("dimensions"), dict):
            choices = {name: tuple(values) for name, values in told["choices"].items()}
            found = (found or Trajectory(choices=choices)).with_step(TrajectoryStep.from_dict(told["step"]))
    return found


def _training_figures(data: Json) -> dict[str, float]:
    """Return an epoch's losses and accuracies by name; accuracies are told as shares and shown in percent."""
    losses, accuracies = data.get("losses") or {}, data.get("accuracies") or {}
    return {
        **{_named(name, "loss"): float(value) for name, value in losses.items()},
        **{_named(name, "accuracy"): 100.0 * float(value) for name, value in accuracies.items()},
    }


def _named(name: str, kind: str) -> str:
    return name if kind in name else f"{name} {kind}"
