"""After a search: pairs trained alone, to hold shared weights against, and how well boards' costs were predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import ray

from cluster.gateway.actor import GatewayClient, find_gateway
from cluster.job_context import JobContext
from cluster.last_epoch import LastEpoch
from cluster.measurer import GatewayMeasurer
from cluster.training_phase import StopRequestedError, Trained, device, train_config
from edge_agent.records import Half
from nas_service.candidate import PREDICTED, Candidate, CandidateStatus
from nas_service.fidelity import AUDIT, PREDICTOR
from nas_service.front_query import HALVES, HalfCost
from nas_service.job import JobSpec
from nas_service.pair_space import PairSpace
from nas_service.tune.ports import Measurer
from nas_service.tune.thrift import Thrift
from nas_service.valuation import half_cost
from workers.alone import train_alone
from workers.trainer import EpochReport
from workers.training_run import TrainingRun

WAIT_S = 2.0
RETRIES = 2  # of a pair whose worker was lost


def sampled(candidates: Sequence[Candidate], count: int, *, seed: int) -> list[Candidate]:
    """Return up to `count` finished candidates, drawn evenly; the same again for the same candidates and seed.

    Those whose evaluation ended early are left out: their accuracies are of other, fewer images.
    """
    finished = [c for c in candidates if c.status is CandidateStatus.FINISHED and not c.partial]
    drawn = np.random.default_rng(seed).permutation(len(finished))[:count]
    return [finished[i] for i in sorted(drawn.tolist())]


class AuditPhase:
    """Audits a finished search; what was audited before a kill is not repeated, and what was begun goes on.

    Args:
        job: What to work with.
        trained: Its supernet.
        measurer: Who knows what boards measured; None is the gateway.
    """

    def __init__(self, job: JobContext, trained: Trained, *, measurer: Measurer | None = None) -> None:
        self._job, self._trained, self._measurer = job, trained, measurer
        self._tries: Counter[str] = Counter()

    def run(self) -> None:
        """Train what is asked for, alone, and tell of predictors where there were any.

        Raises:
            StopRequestedError: the user asked for it; every training that was under way has ended an epoch.
        """
        if self._job.spec.measurement.only is not None:
            self._predictors()
        if self._job.spec.finalists.audit:
            self._alone()

    def _alone(self) -> None:
        job, spec = self._job, self._job.spec
        candidates = job.store.candidates.list(job.job_id)
        chosen = sampled(candidates, spec.finalists.audit, seed=spec.seed)
        done = {e.data["candidate"] for e in job.store.jobs.history(job.job_id) if e.kind == AUDIT}
        waiting = [c for c in chosen if c.id not in done]
        running: dict[Any, Candidate] = {}
        try:
            while waiting or running:
                over, stopping = len(chosen) - len(waiting) - len(running), job.stop_requested()
                job.progress("auditing", done=over, total=len(chosen), detail="training pairs alone")
                if stopping and not running:
                    raise StopRequestedError(f"stopped after {over} of {len(chosen)} pairs were trained alone")
                while waiting and len(running) < spec.resources.evaluators.count and not stopping:
                    candidate = waiting.pop(0)
                    running[self._start(candidate)] = candidate
                for stream in ray.wait(list(running), num_returns=1, timeout=WAIT_S)[0]:
                    following = self._step(stream, running[stream])
                    candidate = running.pop(stream)
                    if following is not None and job.stop_requested():
                        ray.cancel(following, force=True)
                        waiting.append(candidate)
                    elif following is not None:
                        running[following] = candidate
        finally:
            for stream in running:
                ray.cancel(stream, force=True)

    def _start(self, candidate: Candidate) -> Any:
        spec, resources = self._job.spec, self._job.spec.resources.evaluators
        config = train_config(spec)
        run = TrainingRun(
            definition=self._trained.definition,
            dataset=self._trained.dataset,
            seed=spec.seed,
            train_fraction=spec.supernet.train_fraction,
            config=replace(config, autocast=resources.gpus > 0),
            evolution=None,
            constraints=None,
        )
        task = cast(Any, ray.remote)(train_alone).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            num_returns="streaming",
            max_retries=0,  # Ray would begin where this began; `_step` goes on after the last epoch
        )
        resume = self._last(candidate).read()
        return task.remote(
            run, candidate.architecture, router=spec.router, resume=resume, device=device(resources.gpus)
        )

    def _last(self, candidate: Candidate) -> LastEpoch:
        return LastEpoch(self._job.work, f"alone-{candidate.id}")

    def _step(self, stream: Any, candidate: Candidate) -> Any | None:
        """Keep what the stream gives next; return the stream of what follows, another where a worker was lost."""
        try:
            given: EpochReport | dict[str, float] = ray.get(next(stream))
        except ray.exceptions.RayError as error:
            self._tries[candidate.id] += 1
            if not isinstance(error, ray.exceptions.RayTaskError) and self._tries[candidate.id] <= RETRIES:
                return self._start(candidate)
            self._job.note("failed", f"{candidate.id} could not be trained alone: {str(error).splitlines()[-1]}")
            return None
        if isinstance(given, EpochReport):
            self._last(candidate).keep(given.checkpoint)
            return stream
        self._tell(candidate, given)
        self._last(candidate).forget()
        return None

    def _tell(self, candidate: Candidate, accuracies: dict[str, float]) -> None:
        shown = ", ".join(f"{half} {accuracies[half]:.1f} % ({candidate.accuracies[half]:.1f} % with shared weights)"
                          for half in ("little", "big"))  # fmt: skip
        told = {"candidate": candidate.id, "accuracies": accuracies, "epochs": self._job.spec.supernet.epochs}
        self._job.note(AUDIT, f"{candidate.id} trained alone: {shown}", told)

    def _predictors(self) -> None:
        job = self._job
        measurer = self._measurer or GatewayMeasurer(GatewayClient(find_gateway()))
        candidates = job.store.candidates.list(job.job_id)
        for message, data in predictors(job.spec, space=self._trained.space, candidates=candidates, measurer=measurer):
            job.note(PREDICTOR, message, data)


def predictors(
    spec: JobSpec, *, space: PairSpace, candidates: Sequence[Candidate], measurer: Measurer
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield of each predicted cost how well it is predicted at the end, from what the search itself learnt from.

    That is the class's table and the halves of the search's candidates, each left out of its fit. `spared` is how many
    candidates boards did not measure because of it.
    """
    thrift = Thrift(spec, space=space)
    thrift.learn_table(measurer)
    for candidate in candidates:
        thrift.learn(candidate, _measured(candidate, measurer))
    for board_class, qualities in thrift.qualities().items():
        spared = sum(any(board_class in str(p.get(PREDICTED, "")).split() for p in c.values) for c in candidates)
        for name, quality in qualities.items():
            data = {"objective": f"{name}@{board_class}", "halves": quality.halves, "mape": 100 * quality.mape,
                    "tau": quality.tau, "used": quality.usable or spared > 0, "spared": spared}  # fmt: skip
            yield f"{name}@{board_class}: {quality}; {spared} candidates were not measured because of it", data


def _measured(candidate: Candidate, measurer: Measurer) -> dict[str, dict[Half, HalfCost]]:
    """Return what halves of a candidate were measured to cost, by board class."""
    costs: dict[str, dict[Half, HalfCost]] = {}
    for board_class, halves in candidate.measurements.items():
        states = measurer.poll(sorted(halves.values()))
        for half in HALVES:
            state = states.get(halves.get(half, ""))
            if state is not None and state.result is not None and state.result.status == "ok":
                costs.setdefault(board_class, {})[half] = half_cost(state.result)
    return costs
