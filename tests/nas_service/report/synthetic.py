"""Report data such as a real search leaves behind: concave curves, two strategies, one local board, a failure."""

from __future__ import annotations

import hashlib
import math
import random

from nas_service.report.data import (
    ReportCandidate,
    ReportCurve,
    ReportData,
    ReportMeasurement,
    ReportPoint,
    TrainingPoint,
)

JOB = "digits-demo-k3q7ab"
CLASS = "local-x86"
N = 300
COUPLINGS = ("independent", "stem", "nested")


def key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def curve(little: float, big: float, points: int = 41) -> ReportCurve:
    rates = [i / (points - 1) for i in range(points)]
    bump = 0.5 * abs(big - little) + 0.004
    accuracy = [little + (big - little) * (1 - (1 - r) ** 2.2) + bump * 0.3 * math.sin(math.pi * r) for r in rates]
    thresholds: list[float | str] = ["never", *[0.3 + 0.69 * r for r in rates[1:-1]], "always"]
    return ReportCurve(
        thresholds=tuple(thresholds),
        accuracy=tuple(round(a * N) / N for a in accuracy),
        escalation_rate=tuple(round(r * N) / N for r in rates),
    )


def candidate(number: int, rng: random.Random, *, strategy: str, skill: float) -> ReportCandidate:
    little_macs, tail_macs = rng.uniform(0.04, 0.4) * 1e6, rng.uniform(0.4, 2.4) * 1e6
    little = 0.99 - 0.12 * math.exp(-little_macs / 2e5) - rng.uniform(0, 0.05) * (1 - skill)
    big = min(0.995, little + rng.uniform(0.004, 0.03) * (0.5 + skill))
    measured = number % 9 != 0
    made = curve(little, big)
    told = [
        {"error": 100 * (1 - a), "macs": little_macs + r * tail_macs, "threshold": t}
        for t, a, r in zip(made.thresholds, made.accuracy, made.escalation_rate, strict=True)
    ][::4]
    return ReportCandidate(
        id=f"{JOB}-{number:04d}",
        number=number,
        strategy=strategy,
        coupling=COUPLINGS[number % 3],
        status="finished",
        costs={"little_macs": little_macs, "tail_macs": tail_macs, "params": 24_000.0},
        accuracies={"little": 100 * little, "big": 100 * big, "n": N},
        curve=made,
        measurements={CLASS: {"little": key(number, "little"), "big": key(number, "big")}} if measured else {},
        values=tuple(told),
        finished_at=1_764_000_000.0 + 4 * number,
        finalist=number in (5, 17),
        final={"operating_points": [operating_point("cheap", 0.41), operating_point("best", 0.93)]}
        if number in (5, 17)
        else {},
        split_hashes={"weights": key("w"), "validation": key("v"), "calibration": key("c"), "test": key("t")},
    )


def operating_point(name: str, threshold: float) -> dict[str, object]:
    promise = {"accuracy": 0.95 + threshold / 30, "escalation_rate": threshold / 3, "expected_cost": {"macs": 4.1e5}}
    return {"name": name, "threshold": threshold, "calibration": promise, "test": {**promise, "accuracy": 0.961}}


def measurement(owner: ReportCandidate, half: str) -> ReportMeasurement:
    macs = owner.costs["little_macs" if half == "little" else "tail_macs"]
    mean_ms = 0.05 + macs / 4e6
    return ReportMeasurement(
        measurement_key=owner.measurements[CLASS][half],
        board="demo-board",
        board_class=CLASS,
        tier="probe",
        half=half,
        grade="local",
        status="ok",
        n=1200,
        mean_ms=mean_ms,
        ci95_ms=(mean_ms * 0.99, mean_ms * 1.01),
        p90_ms=mean_ms * 1.2,
        memory_kib=3100.0,
    )


def report_data(*, count: int = 28, state: str = "finished") -> ReportData:
    rng = random.Random(7)
    strategies = ["random"] * (count // 2) + ["nsga2"] * (count - count // 2)
    made = [candidate(i + 1, rng, strategy=s, skill=i / count) for i, s in enumerate(strategies)]
    failed = ReportCandidate(
        id=f"{JOB}-{count + 1:04d}",
        number=count + 1,
        strategy="nsga2",
        coupling="stem",
        status="failed",
        error="big could not be measured on local-x86: infeasible_timeout",
    )
    best = made[4]
    assert best.curve is not None
    front = tuple(
        ReportPoint(
            candidate_id=best.id,
            coupling=best.coupling,
            threshold=t,
            accuracy=a,
            escalation_rate=r,
            values={"error": 100 * (1 - a), "macs": best.costs["little_macs"] + r * best.costs["tail_macs"]},
        )
        for t, a, r in zip(best.curve.thresholds, best.curve.accuracy, best.curve.escalation_rate, strict=True)
    )
    return ReportData(
        job_id=JOB,
        name="digits demo",
        kind="search",
        state=state,
        spec={
            "kind": "search",
            "name": "digits demo",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro"},
            "objectives": ["error", "macs"],
            "seed": 0,
            "router": "msp",
        },
        spec_hash=key("spec"),
        created_at=1_764_000_000.0,
        started_at=1_764_000_003.0,
        finished_at=1_764_000_190.0,
        objectives=("error", "macs"),
        front=front,
        candidates=(*made, failed),
        measurements=tuple(measurement(c, half) for c in made if c.measurements for half in ("little", "big")),
        training=tuple(
            TrainingPoint(
                epoch=e,
                figures={
                    "train_loss": 2.3 * math.exp(-e / 4) + 0.1,
                    "little_accuracy": 96 - 70 * math.exp(-e / 3),
                    "big_accuracy": 98 - 70 * math.exp(-e / 2.5),
                },
            )
            for e in range(1, 16)
        ),
        artefacts={"supernet": key("supernet")},
    )
