"""Benchmarks of measuring on a board: how true its latency is, what it takes beside its window, how few inputs do.

The networks are untrained, since weights do not change how long they take; on noise their scores are spread enough to
be routed by. Both sides take turns, and of each the least of several rounds counts.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.benchmarks.row import Row
from edge_agent import pair_statistics
from edge_agent.coupled import Coupled, thresholds_of
from edge_agent.inference import CPU, open_session
from edge_agent.measuring import measure_file
from edge_agent.pair_stream import Stream, stratified_order
from edge_agent.records import RuntimeSettings
from edge_agent.tiers import TIERS
from nas_service.errors import RetryableError
from nas_service.pair_space import PairSpace
from nas_service.presets import PRESETS
from workers.evaluation import recalibrate
from workers.export import ExportedPair, export_pair
from workers.supernet import Supernet

ROUNDS = 5
WINDOW_S = 2.0
FULL_STREAM = 5000
STRATIFIED = 256
ESCALATED = 0.3
PAIR_ROUNDS = 8
_SETTINGS = {"provider": CPU, "threads": 1, "arena": True}
_BARE = """
import json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {i.name: np.random.default_rng(0).standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
times, end = [], time.perf_counter() + float(sys.argv[2])
for _ in range(200):
    session.run(None, feeds)
while time.perf_counter() < end:
    begin = time.perf_counter_ns()
    session.run(None, feeds)
    times.append(time.perf_counter_ns() - begin)
print(json.dumps(float(np.median(times)) / 1e6))
"""


def latency() -> list[Row]:
    """E1: the agent's measured latency over a bare onnxruntime loop, each in a process of its own, in turn."""
    plan = dataclasses.replace(TIERS["screen"], min_window_s=WINDOW_S)
    with tempfile.TemporaryDirectory() as folder:
        path = _written(untrained_pair().big, Path(folder))

        def ours() -> float:
            measured = measure_file(path, tier="screen", settings=RuntimeSettings(), work=Path(folder), plan=plan)
            if measured.latency is None:
                raise RetryableError(f"the benchmark's model was not measured: {measured.verdict.cause}")
            return measured.latency.median_ms

        times = [(ours(), _bare_ms(path)) for _ in range(ROUNDS)]
    least_ours, least_bare = (min(column) for column in zip(*times, strict=True))
    shown = ", ".join(f"{a:.3f}/{b:.3f}" for a, b in times)
    detail = f"a tiny pair's big, one thread, {ROUNDS} rounds of {WINDOW_S:g} s in turn, medians in ms: {shown}"
    value = abs(least_ours / least_bare - 1)
    return [Row(name="E1", figure="|measured / bare loop - 1|", value=value, must=0.03, aim=0.01, detail=detail)]


def screen_overhead() -> list[Row]:
    """E2: what a `screen` measurement takes beside its window."""
    with tempfile.TemporaryDirectory() as folder:
        path = _written(untrained_pair().big, Path(folder))
        started = time.monotonic()
        measured = measure_file(path, tier="screen", settings=RuntimeSettings(), work=Path(folder))
        wall_s = time.monotonic() - started
    if measured.latency is None:
        raise RetryableError(f"the benchmark's model was not measured: {measured.verdict.cause}")
    window_s = measured.latency.duration_s
    phases = ", ".join(f"{name} {measured.phases_s[name]:.2f}" for name in ("import", "prepare", "warmup"))
    detail = f"wall {wall_s:.2f} s, window {window_s:.2f} s; {phases} s"
    figure = "screen: wall time beside its window, s"
    return [Row(name="E2", figure=figure, value=wall_s - window_s, must=8.0, aim=3.0, detail=detail)]


def stratified() -> list[Row]:
    """E3: a pair's mean latency from few inputs, weighted by exact shares, over the mean of the whole stream."""
    graphs, rng = untrained_pair(), np.random.default_rng(0)
    images = rng.standard_normal((FULL_STREAM, 1, 3, 32, 32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        little, big = (
            open_session(_written(data, Path(folder), name=name), settings=_SETTINGS)
            for name, data in (("little", graphs.little), ("big", graphs.big))
        )
    scores = np.array([float(little.run(["score"], {"image": image})[0].item()) for image in images])
    threshold = float(np.quantile(scores, ESCALATED))
    pair = Coupled(little, big, thresholds=thresholds_of(threshold, classes=10))
    routes = (scores < threshold).astype(np.uint8)
    few, shares = _few(routes, rng), (1 - float(routes.mean()), float(routes.mean()))
    order, paths = stratified_order(few[1], share=shares[1])

    def estimate() -> float:
        times = _times(lambda at: pair.run(images[few[0][order[at]]], big=bool(paths[at])), len(order))
        return pair_statistics.mean_ms([pair_statistics.PathTimes(times_ms=times, paths=paths)], shares=shares)

    def whole() -> float:
        return float(_times(lambda at: pair.run(images[at]), FULL_STREAM).mean())

    rounds = [(estimate(), whole()) for _ in range(PAIR_ROUNDS + 1)][1:]
    least = [min(column) for column in zip(*rounds, strict=True)]
    detail = (
        f"a tiny pair, {len(few[0])} inputs against {FULL_STREAM}, {shares[1]:.0%} escalated, least of {PAIR_ROUNDS} "
        f"rounds in turn: {least[0]:.4f} and {least[1]:.4f} ms"
    )
    value = abs(least[0] / least[1] - 1)
    return [Row(name="E3", figure="|stratified / full stream - 1|", value=value, must=0.03, aim=0.02, detail=detail)]


def _few(routes: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.int64], Stream]:
    """Return which inputs to take, half of either route, and the stream that they are."""
    halves = [rng.permutation(np.flatnonzero(routes == route))[: STRATIFIED // 2] for route in (0, 1)]
    chosen = np.concatenate(halves)
    blank = np.zeros((len(chosen), 1, 1, 1), dtype=np.uint8)
    zeros = np.zeros(len(chosen), dtype=np.float32)
    return chosen, Stream(images=blank, routes=routes[chosen], scores=zeros, natural=routes[chosen])


def _times(step: Callable[[int], Any], count: int) -> NDArray[np.float64]:
    times = np.empty(count)
    for at in range(count):
        begin = time.perf_counter_ns()
        step(at)
        times[at] = (time.perf_counter_ns() - begin) / 1e6
    return times


def _bare_ms(path: Path) -> float:
    command = [sys.executable, "-c", _BARE, str(path), str(WINDOW_S)]
    return float(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout))


def untrained_pair() -> ExportedPair:
    """Return the graphs of the largest `stem` pair of preset `tiny` for 32 x 32 images of 10 classes."""
    torch.set_num_threads(1)
    space = PairSpace(PRESETS["tiny"], channels=3, resolution=32, classes=10)
    torch.manual_seed(0)
    pair = Supernet(space).extract(space.plan(space.extreme("stem", largest=True)))
    recalibrate(pair, [torch.randn((16, 3, 32, 32), generator=torch.Generator().manual_seed(0))])
    return export_pair(pair, router="margin")


def _written(data: bytes, folder: Path, *, name: str = "model") -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(data)
    return path
