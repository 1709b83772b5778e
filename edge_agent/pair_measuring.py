"""The parent's side of measuring a pair whole: several fresh children in turn, the last of which puts all together."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from edge_agent.child_run import UNSUPERVISED, ChildRun, Supervision
from edge_agent.errors import ModelRefusedError
from edge_agent.measuring import Measurement, idle_power
from edge_agent.pair_pack import unpack_pack
from edge_agent.records import Energy, Latency, Memory, PairFigures, RuntimeSettings, Tier
from edge_agent.sensors import EnergySensor, Sampler
from edge_agent.tiers import TIERS, TierPlan
from edge_agent.verdict import ChildEnd, Verdict, judge


def measure_pair(
    pack: Path,
    *,
    tier: Tier,
    settings: RuntimeSettings,
    work: Path,
    sensor: EnergySensor | None = None,
    supervision: Supervision = UNSUPERVISED,
) -> Measurement:
    """Measure a pair whole; whatever its children do, a Measurement comes back.

    Args:
        pack: A pair pack, see edge_agent.pair_pack.
        tier: How long to measure, and in how many processes.
        settings: Provider, threads, arena, deadlines and memory limit.
        work: A folder for the exchange with the children.
        sensor: Where energy is read, or None.
        supervision: Who is called meanwhile (for every process), and what ends the measurement early.

    Raises:
        StoppedError: If the supervision's `stop_fd` became readable; the child is dead by then.
    """
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="measure-", dir=work))
    sampler: Sampler | None = None
    try:
        subject = folder / "pack"
        subject.mkdir()
        unpack_pack(pack, subject)
        plan = TIERS[tier]
        share = process_plan(plan)
        for index in range(plan.processes):
            last = index == plan.processes - 1
            sampler = Sampler(sensor, folder=folder) if sensor and last else None
            run = _run(share, index, settings=settings, folder=folder, supervision=supervision, sampled=bool(sampler))
            end = run.follow(subject)
            verdict = judge(end)
            if last or verdict.status != "ok":
                return _read(end, verdict, sampler=sampler, run=run, wall_s=time.monotonic() - begin)
        raise AssertionError("a tier has at least one process")
    except ModelRefusedError as error:
        return Measurement(verdict=Verdict(status="model_error", fault="model", cause=str(error)))
    finally:
        if sampler:
            sampler.close()
        shutil.rmtree(folder, ignore_errors=True)


def process_plan(plan: TierPlan) -> TierPlan:
    """Return one process's share of a tier's plan: windows add up, and so do the samples behind the interval."""
    count = plan.processes
    return dataclasses.replace(
        plan,
        min_n=math.ceil(plan.min_n / count),
        min_window_s=plan.min_window_s / count,
        max_window_s=plan.max_window_s / count,
        ci_fraction=None if plan.ci_fraction is None else plan.ci_fraction * math.sqrt(count),
    )


def _run(
    plan: TierPlan, index: int, *, settings: RuntimeSettings, folder: Path, supervision: Supervision, sampled: bool
) -> ChildRun:
    last = index == plan.processes - 1
    energy_s = plan.energy_s if sampled else 0.0
    (folder / "answer.json").unlink(missing_ok=True)
    ask: dict[str, Any] = {
        "raw": str(folder / f"times-{index}.npz"),
        "earlier": [str(folder / f"times-{before}.npz") for before in range(index)],
        "last": last,
        "replay_s": plan.replay_s,
        "energy_s": energy_s,
    }
    return ChildRun(
        plan=plan,
        settings=settings,
        folder=folder,
        supervision=supervision,
        idle_s=plan.idle_baseline_s if sampled else 0.0,
        extra={"pair": ask},
        extra_s=4 * plan.replay_s + 2 * energy_s if last else 0.0,
    )


def _read(end: ChildEnd, verdict: Verdict, *, sampler: Sampler | None, run: ChildRun, wall_s: float) -> Measurement:
    if verdict.status != "ok" or end.answer is None:
        return Measurement(verdict=verdict, phases_s={"wall": wall_s})
    try:
        latency = Latency.from_dict(end.answer["latency"])
        memory = Memory.from_dict(end.answer["memory"])
        pair = PairFigures.from_dict(end.answer["pair"])
        phases_s = {**end.answer["phases_s"], "wall": wall_s}
        runtime, windows = end.answer["runtime"], end.answer["windows_ns"]
        if latency.duration_s > 0:
            phases_s["window"] = latency.duration_s
        energy = None
        if sampler:
            energy, pair, idle = _energy(sampler, run.idle_ns, windows, pair)
            runtime |= idle
    except (KeyError, ValueError, TypeError) as error:
        cause = f"the child's answer is not one: {error}"
        return Measurement(verdict=Verdict(status="agent_error", fault="unknown", cause=cause))
    return Measurement(
        verdict=verdict,
        latency=latency,
        memory=memory,
        energy=energy,
        sensor_fault=sampler.fault if sampler else None,
        pair=pair,
        runtime=runtime,
        phases_s=phases_s,
    )


def _energy(
    sampler: Sampler, idle_ns: list[tuple[int, int]], windows: dict[str, Any], pair: PairFigures
) -> tuple[Energy | None, PairFigures, dict[str, Any]]:
    """Return the energy of the natural order, the figures with each route's energy, and the idle baselines."""
    idle_mw, idle = idle_power(sampler, idle_ns)

    def of(name: str) -> Energy | None:
        start_ns, end_ns, n = windows[name]
        return sampler.energy(start_ns=start_ns, end_ns=end_ns, n=n, idle_power_mw=idle_mw)

    routes = []
    for route in pair.routes:
        energy = of(route.route)
        routes.append(dataclasses.replace(route, gross_mj=energy.gross_mj, net_mj=energy.net_mj) if energy else route)
    flags = (*pair.flags, "idle_drift") if idle.get("idle_drift") else pair.flags
    return of("replay"), dataclasses.replace(pair, routes=tuple(routes), flags=flags), idle
