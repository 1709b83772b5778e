"""The parent's side of measuring one ONNX file, and what a tier demands of any measurement."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.child_run import UNSUPERVISED, ChildRun, Supervision
from edge_agent.records import Energy, Half, Latency, Memory, PairFigures, RuntimeSettings, SensorFault, Tier
from edge_agent.sensors import EnergySensor, Sampler
from edge_agent.tiers import TIERS, TierPlan
from edge_agent.verdict import ChildEnd, Verdict, judge

__all__ = ["Measurement", "Supervision", "grade_window", "measure_file", "new_result_id", "quiet_s"]

_MAX_IDLE_CHANGE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring gave; figures are present only if the verdict has them."""

    verdict: Verdict
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    sensor_fault: SensorFault | None = None
    pair: PairFigures | None = None
    runtime: dict[str, Any] = field(default_factory=dict)
    phases_s: dict[str, float] = field(default_factory=dict)


def quiet_s(tier: Tier, *, half: Half = "little") -> float:
    """Return how long a child at this tier stays silent at most, once its model is prepared."""
    plan = TIERS[tier]
    beside_s = plan.replay_s + 2 * plan.energy_s if half == "pair" else 0.0
    return plan.max_warmup_s + plan.max_window_s + plan.idle_baseline_s + beside_s + 10.0


def measure_file(
    model: Path,
    *,
    tier: Tier,
    settings: RuntimeSettings,
    work: Path,
    sensor: EnergySensor | None = None,
    supervision: Supervision = UNSUPERVISED,
    plan: TierPlan | None = None,
) -> Measurement:
    """Measure one ONNX file in a fresh child process; whatever the child does, a Measurement comes back.

    Args:
        model: The file; no second file is ever opened for it.
        tier: How long to measure.
        settings: Provider, threads, arena, deadlines and memory limit.
        work: A folder for the exchange with the child.
        sensor: Where energy is read, or None.
        supervision: Who is called meanwhile, and what ends the measurement early.
        plan: Another plan than the tier's.

    Raises:
        StoppedError: If the supervision's `stop_fd` became readable; the child is dead by then.
    """
    begin = time.monotonic()
    plan = plan or TIERS[tier]
    folder = Path(tempfile.mkdtemp(prefix="measure-", dir=work))
    sampler = Sampler(sensor, folder=folder) if sensor else None
    try:
        run = ChildRun(
            plan=plan,
            settings=settings,
            folder=folder,
            supervision=supervision,
            idle_s=plan.idle_baseline_s if sampler else 0.0,
        )
        end = run.follow(model)
        return _read(end, sampler=sampler, idle_ns=run.idle_ns, wall_s=time.monotonic() - begin)
    finally:
        if sampler:
            sampler.close()
        shutil.rmtree(folder, ignore_errors=True)


def _read(end: ChildEnd, *, sampler: Sampler | None, idle_ns: list[tuple[int, int]], wall_s: float) -> Measurement:
    verdict = judge(end)
    if verdict.status != "ok" or end.answer is None:
        return Measurement(verdict=verdict, phases_s={"wall": wall_s})
    try:
        latency = Latency.from_dict(end.answer["latency"])
        memory = Memory.from_dict(end.answer["memory"])
        start_ns, end_ns = end.answer["window_ns"]
        phases_s = {**end.answer["phases_s"], "wall": wall_s}
        runtime = end.answer["runtime"]
    except (KeyError, ValueError, TypeError) as error:
        cause = f"the child's answer is not one: {error}"
        return Measurement(verdict=Verdict(status="agent_error", fault="unknown", cause=cause))
    energy = None
    if sampler:
        idle_mw, idle = idle_power(sampler, idle_ns)
        runtime |= idle
        energy = sampler.energy(start_ns=start_ns, end_ns=end_ns, n=latency.n, idle_power_mw=idle_mw)
    return Measurement(
        verdict=verdict,
        latency=latency,
        memory=memory,
        energy=energy,
        sensor_fault=sampler.fault if sampler else None,
        runtime=runtime,
        phases_s=phases_s,
    )


def idle_power(sampler: Sampler, idle_ns: list[tuple[int, int]]) -> tuple[float | None, dict[str, Any]]:
    """Return the idle board's mean power in mW, and for the record both baselines and whether they are far apart."""
    readings = [sampler.power_mw(start_ns=start, end_ns=end) for start, end in idle_ns]
    known = [power for power in readings if power is not None]
    if not known:
        return None, {}
    drifted = len(known) == 2 and abs(known[1] - known[0]) > _MAX_IDLE_CHANGE * known[0]
    return sum(known) / len(known), {"idle_power_mw": readings, "idle_drift": drifted}


def grade_window(measurement: Measurement, *, tier: Tier) -> Verdict:
    """Return the verdict after the tier's own demands: drift and the confidence interval's width."""
    plan, latency = TIERS[tier], measurement.latency
    if measurement.verdict.status != "ok" or latency is None:
        return measurement.verdict
    drift = latency.drift_fraction
    if plan.max_drift_fraction is not None and drift is not None and abs(drift) > plan.max_drift_fraction:
        cause = f"latency moved by {drift:+.1%} over the window; at most {plan.max_drift_fraction:.0%} is allowed"
        return Verdict(status="drift", fault="board", cause=cause)
    half_width = (latency.mean_ci95_high_ms - latency.mean_ci95_low_ms) / 2 / latency.mean_ms
    if plan.ci_fraction is not None and half_width > plan.ci_fraction:
        cause = f"the mean is known to {half_width:.1%} only; {plan.ci_fraction:.1%} is asked for"
        return Verdict(status="noisy", fault="board", cause=cause)
    return measurement.verdict


def new_result_id() -> str:
    """Return a result id that no other result has."""
    return f"r-{uuid.uuid4().hex}"
