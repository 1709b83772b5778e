"""An archive and boards in memory, that fail on purpose, and the steps of a driver around a session."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from edge_agent.records import Artifact, Latency, Memory, Result, RuntimeSettings
from nas_service.candidate import Candidate, Proposal
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport
from nas_service.job import JobSpec, parse_job
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus
from nas_service.pair_space import PairSpace, SpaceDefinition
from nas_service.presets import MICRO
from nas_service.search import make_searcher
from nas_service.tune.session import SearchSession
from nas_service.tune.task import Task

JOB = "job-1"


class CutError(Exception):
    """The process was killed here."""


class MemoryArchive:
    """Candidates and searchers' states; `writes_left` says after how many more writes the process is killed."""

    def __init__(self) -> None:
        self.candidates: dict[str, Candidate] = {}
        self.states: dict[int, str] = {}
        self.writes = 0
        self.writes_left: int | None = None

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise CutError
            self.writes_left -= 1
        self.writes += 1

    def asked(self, job_id: str, strategy_index: int, strategy: str, proposals: Sequence[Proposal]) -> list[Candidate]:
        self._write()
        answer = []
        for proposal in proposals:
            known = next((c for c in self.candidates.values() if c.phenotype == proposal.phenotype), None)
            if known is None:
                number = len(self.candidates) + 1
                known = Candidate(
                    id=f"{job_id}-{number}",
                    job_id=job_id,
                    number=number,
                    strategy_index=strategy_index,
                    strategy=strategy,
                    created_at=0.0,
                    **proposal._asdict(),
                )
                self.candidates[known.id] = known
            answer.append(known)
        return answer

    def update(self, candidate: Candidate) -> None:
        self._write()
        self._keep(candidate)

    def _keep(self, candidate: Candidate) -> None:
        stored = self.candidates[candidate.id]
        assert not stored.over, f"{candidate.id} is over and was changed"
        assert stored.status is candidate.status or stored.status.may_become(candidate.status)
        self.candidates[candidate.id] = candidate

    def finish(self, candidate: Candidate, searcher_state: dict[str, Any] | None) -> None:
        self._write()
        assert candidate.over
        self._keep(candidate)
        if searcher_state is not None:
            self.states[candidate.strategy_index] = json.dumps(searcher_state)

    def list(self, job_id: str, *, with_curves: bool = False) -> list[Candidate]:
        every = sorted(self.candidates.values(), key=lambda c: c.number)
        return every if with_curves else [dataclasses.replace(c, curve=None) for c in every]

    def save_search_state(self, job_id: str, strategy_index: int, state: dict[str, Any]) -> None:
        self._write()
        self.states[strategy_index] = json.dumps(state)

    def search_state(self, job_id: str, strategy_index: int) -> dict[str, Any] | None:
        return json.loads(self.states[strategy_index]) if strategy_index in self.states else None

    def content(self) -> tuple[list[dict[str, Any]], dict[int, str]]:
        return [c.to_dict() for c in self.list(JOB, with_curves=True)], copy.deepcopy(self.states)


class FakeBoards:
    """A measurer whose boards answer when `work` is called; a request is kept as the gateway's store keeps it.

    Args:
        outcome: What becomes of a request: `ok`, `model` (its own fault), `infra` (nobody's), or `silent`.
    """

    def __init__(self, outcome: Callable[[MeasurementRequest], str] = lambda request: "ok") -> None:
        self.outcome = outcome
        self.requests: dict[str, MeasurementRequest] = {}
        self.states: dict[str, RequestState] = {}
        self.measured: Counter[str] = Counter()
        self.away: frozenset[str] = frozenset()

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        for request in requests:
            key = request.measurement_key
            known = self.states.get(key)
            if known is None or (known.state is RequestStatus.FAILED and known.result is None):
                self.requests[key] = request
                self.states[key] = RequestState(measurement_key=key, state=RequestStatus.QUEUED)

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        return {key: self.states[key] for key in keys if key in self.states}

    def settings(self, board_class: str) -> RuntimeSettings:
        return RuntimeSettings()

    def absent(self, board_classes: Collection[str]) -> frozenset[str]:
        return self.away & frozenset(board_classes)

    def work(self) -> None:
        """Answer everything that is queued."""
        for key, state in list(self.states.items()):
            if state.state is RequestStatus.QUEUED and (fate := self.outcome(self.requests[key])) != "silent":
                self.measured[key] += 1
                self.states[key] = _answer(self.requests[key], fate)


def _answer(request: MeasurementRequest, fate: str) -> RequestState:
    key = request.measurement_key
    if fate == "infra":
        return RequestState(measurement_key=key, state=RequestStatus.FAILED, cause="its board went away")
    ok = fate == "ok"
    mean = 0.5 + int(request.structure_key[:4], 16) / 65536
    result = Result(
        result_id=f"r-{key[:16]}",
        lease_id="lease-1",
        token=1,
        attempt=1,
        board="pi-1",
        board_class=request.board_class,
        incarnation="boot-1",
        measurement_key=key,
        structure_key=request.structure_key,
        model_sha256=request.model.sha256,
        tier=request.tier,
        half=request.half,
        status="ok" if ok else "failed",
        fault=None if ok else "model",
        cause=None if ok else "it runs out of memory",
        latency=latency(mean) if ok else None,
        memory=Memory(baseline_kib=100, peak_load_kib=200, peak_run_kib=1100, model_file_bytes=10) if ok else None,
        finished_unix_s=1.0,
    )
    state = RequestStatus.DONE if ok else RequestStatus.FAILED
    return RequestState(measurement_key=key, state=state, result=result, cause=result.cause)


def latency(mean_ms: float) -> Latency:
    return Latency(
        n=30, duration_s=1.0, mean_ms=mean_ms, median_ms=mean_ms, min_ms=mean_ms, max_ms=mean_ms, cv=0.0,
        mean_ci95_low_ms=mean_ms, mean_ci95_high_ms=mean_ms, warmup_n=3, cold_start_ms=1.0,
    )  # fmt: skip


def digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


class FakeTrials:
    """Evaluates candidates: a function of the phenotype alone.

    Args:
        fails: Which candidates fail.
    """

    def __init__(self, fails: Callable[[Candidate], bool] = lambda candidate: False) -> None:
        self.fails = fails
        self.evaluated: list[str] = []
        self.exports: dict[str, list[str]] = {}

    def __call__(self, candidate: Candidate, exports: list[str]) -> EvaluationReport:
        self.evaluated.append(candidate.id)
        self.exports[candidate.id] = exports
        if self.fails(candidate):
            return EvaluationReport(candidate_id=candidate.id, status="failed", error="its outputs are not finite")
        rng = np.random.default_rng(digest(candidate.phenotype))
        curve = Curve.from_outputs(rng.random(20), rng.random(20) < 0.6, rng.random(20) < 0.9)
        model = {half: Artifact(sha256=candidate.structures[half], size_bytes=10) for half in exports}
        return EvaluationReport(
            candidate_id=candidate.id,
            status="ok",
            accuracies={"little": 60.0, "big": 90.0, "n": 20},
            curve=curve.to_bytes(),
            models=model,
            split_hashes={"test": "0" * 64},
        )


def make_spec(**changes: Any) -> JobSpec:
    return parse_job(
        {
            "kind": "search",
            "name": "a search",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro"},
            "supernet": {"epochs": 1},
            "strategy": {"name": "nsga2", "evaluations": 6, "concurrency": 1},
            "objectives": ["error", "latency_ms@pi"],
            "measurement": {"tier": "probe", "timeout_s": 60.0},
            **changes,
        }
    )


def make_session(
    spec: JobSpec,
    archive: MemoryArchive,
    boards: FakeBoards | None,
    *,
    index: int = 0,
    definition: SpaceDefinition = MICRO,
    **options: Any,
) -> SearchSession:
    """A new session over what the archive holds, as a driver makes one."""
    strategy = spec.strategy[index]
    space = PairSpace(definition, channels=1, resolution=8, classes=10, constraints=spec.constraints)
    searcher = make_searcher(
        strategy.name, space, objectives=spec.objectives, seed=spec.seed + index, budget=strategy.evaluations
    )
    return SearchSession(
        Task(spec=spec, job_id=JOB, strategy_index=index),
        searcher=searcher,
        space=space,
        archive=archive,
        measurer=boards,
        **{"clock": lambda: 0.0, **options},
    )


def run(
    session: SearchSession, boards: FakeBoards | None, trials: FakeTrials, *, steps: int = 500, pace: int = 1
) -> None:
    """Drive a session to its end; boards answer once in `pace` trials, so that candidates pile up in flight."""
    for step in range(steps):
        if session.finished:
            return
        candidate = session.next()
        if candidate is not None:
            session.evaluated(trials(candidate, session.wanted_exports(candidate)))
        if boards is not None and step % pace == pace - 1:
            boards.work()
        session.poll()
    raise AssertionError(f"not finished after {steps} steps: {session.told} told, {session.in_flight} in flight")
