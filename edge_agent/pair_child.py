"""A pair measured whole, inside the child: both graphs in one process, on a real stream.

Each process times the stratified order. Its times go into a file; the last process reads those of the earlier ones,
puts all together, replays the stream in its natural order, compares its own routes with the cluster's, and proves which
execution provider ran. Images are normalised before, as the halves' inputs are ready before their timing.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge_agent.inference import ON_GPU, build_engine, open_session, prove_provider, versions
from edge_agent.onnx_file import check_model_file
from edge_agent.pair_pack import BIG, HEADER, LITTLE, STREAM
from edge_agent.process_limits import involuntary_switches, limit_memory, peak_kib, reset_peak
from edge_agent.records import PackHeader, PairFigures
from edge_agent.tiers import TierPlan

_MAX_INTERACTION = 0.03


class StageTalk(Protocol):
    """How the parent is told how far the child has come."""

    def reach(self, letter: bytes) -> None:
        """Tell of a stage."""

    def prepared(self) -> None:
        """Say that all is prepared and wait for the parent's word."""


@dataclass(slots=True, kw_only=True)
class _Bench:
    """What the timed part works with."""

    header: PackHeader
    stream: Any
    tensors: list[Any] = field(repr=False)
    pair: Any
    thresholds: Any
    normalise: Any
    buffer: Any = field(repr=False)
    plan: TierPlan
    shares: tuple[float, float]


def measure_pair(job: dict[str, Any], *, stages: StageTalk, import_runtime: Callable[[], float]) -> dict[str, Any]:
    """Return the answer to the job of a pair: `model` is the folder of an unpacked pair pack.

    `job["pair"]` holds `raw`, the file for this process's times; `earlier`, those of the processes before; `last`,
    whether this is the last one; and `energy_s`, for how long to run each route alone.

    Raises:
        ModelRefusedError: If the pack's content cannot be used.
        ChildFaultError: If the provider did not run, or the board routes otherwise than the cluster.
    """
    folder, ask, phases_s = Path(job["model"]), job["pair"], {}
    for name in (LITTLE, BIG):
        check_model_file(folder / name)
    header = PackHeader.from_json((folder / HEADER).read_bytes(), where=HEADER)
    stream, buffer = _ready(folder)
    phases_s["import"] = import_runtime()
    from edge_agent.normaliser import Normaliser

    normalise = Normaliser(header.input)
    tensors = [normalise(image) for image in stream.images]
    stages.reach(b"I")
    baseline_kib = peak_kib()
    limit_memory(job["memory_limit_mib"], on_gpu=job["provider"] in ON_GPU)
    begin = time.perf_counter()
    for name in (LITTLE, BIG):
        build_engine(folder / name, settings=job)
    sessions, bench = _opened(
        job, header=header, stream=stream, tensors=tensors, normalise=normalise, buffer=buffer, folder=folder
    )
    phases_s["prepare"], load_kib = time.perf_counter() - begin, peak_kib()
    reset_peak()
    stages.prepared()
    gc.disable()
    answer = _time(bench, ask, reach=stages.reach)
    answer["memory"] |= {
        "baseline_kib": baseline_kib,
        "peak_load_kib": load_kib,
        "model_file_bytes": sum((folder / name).stat().st_size for name in (LITTLE, BIG)),
    }
    answer["phases_s"] |= phases_s
    if ask["last"]:
        answer["runtime"] |= {"providers": sessions[0].get_providers()}
        answer["runtime"]["node_providers"] = _proof(bench, folder, job)
    return answer


def _ready(folder: Path) -> tuple[Any, Any]:
    """Return the stream and a buffer for times: memory in use before the model comes, hence none of its own."""
    import numpy as np

    from edge_agent import pair_statistics, pair_timing
    from edge_agent.pair_stream import read_stream

    pair_statistics.mean_ci95(np.arange(1.0, 65.0), np.arange(64) % 2, shares=(0.5, 0.5))
    return read_stream(folder / STREAM), np.ones(pair_timing.CAPACITY, dtype=np.int64)


def _opened(
    job: dict[str, Any],
    *,
    header: PackHeader,
    stream: Any,
    tensors: list[Any],
    normalise: Any,
    buffer: Any,
    folder: Path,
) -> tuple[list[Any], _Bench]:
    """Return both sessions and what the timed part works with."""
    from edge_agent.coupled import Coupled, thresholds_of

    sessions = [open_session(folder / name, settings=job) for name in (LITTLE, BIG)]
    thresholds = thresholds_of(header.operating_point.threshold, classes=header.classes)
    rate = header.operating_point.calibration.escalation_rate
    return sessions, _Bench(
        header=header,
        stream=stream,
        tensors=tensors,
        pair=Coupled(*sessions, thresholds=thresholds),
        thresholds=thresholds,
        normalise=normalise,
        buffer=buffer,
        plan=TierPlan(**job["plan"]),
        shares=(1 - rate, rate),
    )


def _time(bench: _Bench, ask: dict[str, Any], *, reach: Callable[[bytes], None]) -> dict[str, Any]:
    from edge_agent import pair_statistics, pair_stream, pair_timing, timing

    plan, pair, tensors = bench.plan, bench.pair, bench.tensors
    images, paths = pair_stream.stratified_order(bench.stream, share=bench.shares[1])
    steps = [(tensors[image], bool(path)) for image, path in zip(images, paths, strict=True)]

    def both() -> None:
        pair.run(steps[0][0], big=True)
        pair.run(steps[0][0], big=False)

    def step(at: int) -> object:
        tensor, big = steps[at]
        return pair.run(tensor, big=big)

    begin = time.perf_counter()
    warm = timing.warm_up(both, plan=plan)
    warmup_s, switches = time.perf_counter() - begin, involuntary_switches()
    stride = pair_timing.choose_stride(warm.median_ms / 2, window_s=plan.max_window_s, steps=len(steps))
    reach(b"W")
    timed = pair_timing.time_steps(
        step,
        steps=len(steps),
        plan=plan,
        buffer=bench.buffer,
        stride=stride,
        half_width=lambda times, at: pair_statistics.half_width(times, paths[at], shares=bench.shares),
    )
    reach(b"E")
    run_kib = peak_kib()
    own = pair_statistics.PathTimes(times_ms=timed.times_ns / 1e6, paths=paths[timed.steps])
    _write(Path(ask["raw"]), own, timed.n, timed.duration_s)
    answer: dict[str, Any] = {
        "memory": {"peak_run_kib": run_kib},
        "runtime": {
            **versions(),
            "affinity": sorted(os.sched_getaffinity(0)),
            "stride": stride,
            "warmup_steady": warm.steady,
            "involuntary_switches": involuntary_switches() - switches,
        },
        "phases_s": {"warmup": warmup_s, "window": timed.duration_s},
    }
    if ask["last"]:
        counts = {"warmup_n": 2 * warm.n, "cold_start_ms": warm.cold_start_ms}
        answer |= _conclude(bench, ask, counts=counts)
    return answer


def _write(path: Path, run: Any, n: int, duration_s: float) -> None:
    import numpy as np

    np.savez(path, times_ms=run.times_ms, paths=run.paths.astype(np.uint8), totals=np.array([n, duration_s]))


def _conclude(bench: _Bench, ask: dict[str, Any], *, counts: dict[str, Any]) -> dict[str, Any]:
    """Return latency, the pair's figures and the windows of energy, from all processes and what only the last does."""
    from edge_agent import pair_statistics
    from edge_agent.pair_observation import MAX_MISMATCH, observe

    runs, n, durations_s = _gathered([*ask["earlier"], ask["raw"]])
    replay, replayed = _replay(bench, seconds=ask["replay_s"])
    windows: dict[str, list[int] | None] = {"replay": [replay.start_ns, replay.end_ns, replay.n]}
    windows |= {name: _alone(bench, big=name == "big", seconds=ask["energy_s"]) for name in ("little", "big")}
    seen = observe(bench.pair, bench.stream, normalise=bench.normalise, thresholds=bench.thresholds)
    agrees = 1 - seen.agreement <= MAX_MISMATCH
    shares = bench.shares if agrees else seen.board_shares(bench.stream, shares=bench.shares)
    costs = pair_statistics.route_costs(runs, shares=shares)
    replay_ms, rate = float(replay.times_ns.mean()) / 1e6, float(seen.routes[replayed].mean())
    interaction = replay_ms / ((1 - rate) * costs[0].mean_ms + rate * costs[1].mean_ms) - 1
    means = tuple(pair_statistics.mean_ms([run], shares=shares) for run in runs)
    first, last = pair_statistics.minutes(runs[-1], shares=shares, duration_s=durations_s[-1])
    figures = PairFigures(
        operating_point=bench.header.operating_point.name,
        routes=costs,
        stream_n=len(bench.stream),
        route_agreement=seen.agreement,
        stream_accuracy=seen.accuracy(bench.stream, shares=shares),
        max_score_error=seen.max_score_error,
        replay_n=replay.n,
        replay_mean_ms=replay_ms,
        replay_escalation_rate=rate,
        interaction_fraction=interaction,
        process_means_ms=means,
        first_minute_ms=first,
        last_minute_ms=last,
        stages_ms=seen.stages_ms,
        flags=_flags(bench.plan, agrees=agrees, interaction=interaction, means=means),
    )
    latency = {"n": n, "duration_s": sum(durations_s), **counts, **pair_statistics.summarise(runs, shares=shares)}
    return {"latency": latency, "pair": figures.to_dict(), "windows_ns": windows}


def _gathered(paths: list[str]) -> tuple[list[Any], int, list[float]]:
    """Return the times of all processes, how many inferences these were, and the seconds of each process's window."""
    import numpy as np

    from edge_agent.pair_statistics import PathTimes

    runs, n, durations_s = [], 0, list[float]()
    for path in paths:
        with np.load(path) as raw:
            runs.append(PathTimes(times_ms=raw["times_ms"], paths=raw["paths"].astype(np.int64)))
            n += int(raw["totals"][0])
            durations_s.append(float(raw["totals"][1]))
    return runs, n, durations_s


def _replay(bench: _Bench, *, seconds: float) -> tuple[Any, Any]:
    """Time the stream in its natural order, routed by the board; return the times and which images they are of."""
    from edge_agent import pair_stream, pair_timing

    order = pair_stream.natural_order(bench.stream)
    steps = [bench.tensors[image] for image in order]
    begin = time.perf_counter()
    for tensor in steps[:16]:
        bench.pair.run(tensor)
    step_ms = (time.perf_counter() - begin) * 1e3 / min(16, len(steps))
    plan = dataclasses.replace(
        bench.plan, min_n=64, min_window_s=seconds, max_window_s=4 * seconds + 1, ci_fraction=None
    )
    times = pair_timing.time_steps(
        lambda at: bench.pair.run(steps[at]),
        steps=len(steps),
        plan=plan,
        buffer=bench.buffer,
        stride=pair_timing.choose_stride(step_ms, window_s=seconds, steps=len(steps)),
    )
    return times, order[times.steps]


def _flags(plan: TierPlan, *, agrees: bool, interaction: float, means: tuple[float, ...]) -> tuple[str, ...]:
    """Return what a reader of the figures must know."""
    spread = (max(means) - min(means)) / min(means)
    said = {
        "route_mismatch": not agrees,
        "interaction": abs(interaction) > _MAX_INTERACTION,
        "process_spread": plan.ci_fraction is not None and spread > 2 * plan.ci_fraction,
    }
    return tuple(name for name, holds in said.items() if holds)


def _alone(bench: _Bench, *, big: bool, seconds: float) -> list[int] | None:
    """Run one route alone for its energy; return start, end and how many inferences, None if no energy is read."""
    from edge_agent import pair_stream

    if seconds <= 0:
        return None
    pool = pair_stream.Stream.pool(bench.stream, int(big))
    start, n = time.perf_counter_ns(), 0
    end = start
    while end - start < seconds * 1e9:
        bench.pair.run(bench.tensors[pool[n % len(pool)]], big=big)
        n, end = n + 1, time.perf_counter_ns()
    return [start, end, n]


def _proof(bench: _Bench, folder: Path, job: dict[str, Any]) -> dict[str, int]:
    """Return how many nodes each execution provider ran, of both graphs; the little's must be the requested one's."""
    scratch = Path(job["answer"]).parent
    looked = bench.pair.look(bench.tensors[0])
    nodes = dict(prove_provider(folder / LITTLE, settings=job, feeds={"image": bench.tensors[0]}, folder=scratch))
    feeds = bench.pair.big_feeds(looked)
    for name, count in prove_provider(folder / BIG, settings=job, feeds=feeds, folder=scratch).items():
        nodes[name] = nodes.get(name, 0) + count
    return nodes
