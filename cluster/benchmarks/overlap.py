"""S3: how much of a search's wall time its evaluations fill, alone and with a board that is as slow again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from cluster.benchmarks.row import Row
from edge_agent.records import Artifact, Latency, Memory, Result, RuntimeSettings
from nas_service.bar import Bar
from nas_service.candidate import CandidateStatus
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport
from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from nas_service.search import make_searcher
from nas_service.store import Store
from nas_service.tune.driver import EvaluatorSetting, run_search
from nas_service.tune.session import SearchSession
from nas_service.tune.task import Task

EVALUATIONS, WORKERS, EVALUATION_S = 200, 2, 0.5
MEASUREMENT_S = (
    EVALUATION_S / WORKERS / 2
)  # of one half: a candidate keeps the board as long as it keeps the evaluators
BOARD_CLASS = "slow"


def occupancy() -> list[Row]:
    """S3: wall time from the first result on, over the evaluations' own time divided by the workers."""
    ray.init(num_cpus=WORKERS, include_dashboard=False, namespace="nas", log_to_driver=False, configure_logging=False)
    try:
        return [_row(board=False), _row(board=True)]
    finally:
        ray.shutdown()


def _row(*, board: bool) -> Row:
    value = _ratio(board=board)
    what = f", one board, {2 * MEASUREMENT_S:g} s a candidate" if board else ""
    return Row(
        name="S3",
        figure="wall time of a search over its evaluations'" + (", with a board as slow again" if board else ""),
        value=value,
        must=1.15,
        aim=1.05,
        detail=f"auto, {EVALUATIONS} evaluations of {EVALUATION_S:g} s, {WORKERS} workers{what}, from the first result",
    )


def _ratio(*, board: bool) -> float:
    objectives = ["error", f"latency_ms@{BOARD_CLASS}" if board else "macs"]
    spec = parse_job(
        {
            "kind": "search",
            "name": "occupancy",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro"},
            "supernet": {"epochs": 1},
            "strategy": {"name": "auto", "evaluations": EVALUATIONS},
            "objectives": objectives,
        }
    )
    with tempfile.TemporaryDirectory(prefix="nas-bench-") as scratch, Store.open(Home(Path(scratch))) as store:
        space = PairSpace(MICRO, channels=1, resolution=8, classes=10)
        session = SearchSession(
            Task(spec=spec, job_id=store.jobs.create(spec).id),
            searcher=make_searcher("auto", space, objectives=spec.objectives, seed=0, budget=EVALUATIONS),
            space=space,
            archive=store.candidates,
            measurer=SleepingBoard() if board else None,
        )
        run_search(
            session,
            factory=SleepingEvaluator,
            parameters={},
            evaluators=EvaluatorSetting(count=WORKERS, cpus=1.0),
        )
        [job] = store.jobs.list()
        done = sorted(store.candidates.list(job.id), key=lambda c: c.finished_at or 0.0)
    finished = [c for c in done if c.status is CandidateStatus.FINISHED]
    first, last = finished[0].finished_at, finished[-1].finished_at
    assert first is not None
    assert last is not None
    # What came with the first result is not counted on either side.
    return (last - first) / ((len(finished) - 1) * EVALUATION_S / WORKERS)


class SleepingEvaluator:
    """Takes EVALUATION_S for a candidate and answers with a curve made of its genes."""

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        """Return a report as a real evaluator does."""
        time.sleep(EVALUATION_S)
        rng = np.random.default_rng(sum(map(ord, repr(sorted(architecture.items())))))
        scores, little, big = rng.random(100), rng.random(100) < 0.6, rng.random(100) < 0.9
        models = {half: Artifact(sha256="0" * 64, size_bytes=1) for half in exports}
        return EvaluationReport(
            candidate_id=candidate_id,
            status="ok",
            curve=Curve.from_outputs(scores, little, big).to_bytes(),
            models=models,
            seconds={"evaluation": EVALUATION_S},
        )


class SleepingBoard:
    """One board that measures what it is asked for in turn, each half for MEASUREMENT_S."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[MeasurementRequest, float]] = {}
        self._free_at = 0.0

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        """Queue what is new."""
        for request in requests:
            if request.measurement_key not in self._requests:
                self._free_at = max(self._free_at, time.monotonic()) + MEASUREMENT_S
                self._requests[request.measurement_key] = (request, self._free_at)

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        """Return what is measured by now, and what waits."""
        return {key: _state(*self._requests[key]) for key in keys if key in self._requests}

    def settings(self, board_class: str) -> RuntimeSettings:
        """Return onnxruntime's defaults."""
        return RuntimeSettings()

    def absent(self, board_classes: Collection[str]) -> frozenset[str]:
        """Return none: this board never leaves."""
        return frozenset()


def _state(request: MeasurementRequest, done_at: float) -> RequestState:
    key = request.measurement_key
    if time.monotonic() < done_at:
        return RequestState(measurement_key=key, state=RequestStatus.QUEUED)
    mean_ms = 0.5 + int(request.structure_key[:4], 16) / 65536
    result = Result(
        result_id=f"r-{key[:16]}",
        lease_id="lease",
        token=1,
        attempt=1,
        board="sleeper",
        board_class=request.board_class,
        incarnation="one",
        measurement_key=key,
        structure_key=request.structure_key,
        model_sha256=request.model.sha256,
        tier=request.tier,
        half=request.half,
        status="ok",
        latency=Latency(
            n=30,
            duration_s=MEASUREMENT_S,
            mean_ms=mean_ms,
            median_ms=mean_ms,
            min_ms=mean_ms,
            max_ms=mean_ms,
            cv=0.0,
            mean_ci95_low_ms=mean_ms,
            mean_ci95_high_ms=mean_ms,
            warmup_n=3,
            cold_start_ms=1.0,
        ),
        memory=Memory(baseline_kib=100, peak_load_kib=200, peak_run_kib=1100, model_file_bytes=1),
        finished_unix_s=1.0,
    )
    return RequestState(measurement_key=key, state=RequestStatus.DONE, result=result)
