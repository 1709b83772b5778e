"""After a search: pairs trained alone, to hold shared weights against, and how well boards' costs were predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import ray

from cluster.job_context import JobContext
from cluster.training_phase import StopRequestedError, Trained, device, train_config
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.fidelity import AUDIT, PREDICTOR
from nas_service.front_query import HalfCost
from nas_service.tune.thrift import Thrift
from nas_service.valuation import half_cost
from workers.alone import train_alone
from workers.training_run import TrainingRun

WAIT_S = 2.0


def sampled(candidates: Sequence[Candidate], count: int, *, seed: int) -> list[Candidate]:
    """Return up to `count` finished candidates, drawn evenly; the same again for the same candidates and seed."""
    finished = [c for c in candidates if c.status is CandidateStatus.FINISHED]
    drawn = np.random.default_rng(seed).permutation(len(finished))[:count]
    return [finished[i] for i in sorted(drawn.tolist())]


class AuditPhase:
    """Audits a finished search; what was audited before a kill is not repeated.

    Args:
        job: What to work with.
        trained: Its supernet.
    """

    def __init__(self, job: JobContext, trained: Trained) -> None:
        self._job, self._trained = job, trained

    def run(self) -> None:
        """Train what is asked for, alone, and tell of predictors where there were any.

        Raises:
            StopRequestedError: the user asked for it; trainings that are over are kept.
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
                over = len(chosen) - len(waiting) - len(running)
                job.progress("auditing", done=over, total=len(chosen), detail="training pairs alone")
                if job.stop_requested():
                    raise StopRequestedError(f"stopped after {over} of {len(chosen)} pairs were trained alone")
                while waiting and len(running) < spec.resources.evaluators.count:
                    candidate = waiting.pop(0)
                    running[self._start(candidate)] = candidate
                for reference in ray.wait(list(running), num_returns=1, timeout=WAIT_S)[0]:
                    self._keep(running.pop(reference), reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

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
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=2
        )
        return task.remote(run, candidate.architecture, router=spec.router, device=device(resources.gpus))

    def _keep(self, candidate: Candidate, reference: Any) -> None:
        try:
            accuracies: dict[str, float] = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._job.note("failed", f"{candidate.id} could not be trained alone: {str(error).splitlines()[-1]}")
            return
        shown = ", ".join(f"{half} {accuracies[half]:.1f} % ({candidate.accuracies[half]:.1f} % with shared weights)"
                          for half in ("little", "big"))  # fmt: skip
        told = {"candidate": candidate.id, "accuracies": accuracies, "epochs": self._job.spec.supernet.epochs}
        self._job.note(AUDIT, f"{candidate.id} trained alone: {shown}", told)

    def _predictors(self) -> None:
        """Tell how well what boards measured in this job is predicted, each half left out of its fit."""
        job = self._job
        thrift = Thrift(job.spec, space=self._trained.space)
        for candidate in job.store.candidates.list(job.job_id):
            costs: dict[str, dict[Any, HalfCost]] = {}
            for board_class, halves in candidate.measurements.items():
                states = job.store.fleet.states(sorted(halves.values()))
                for half, key in halves.items():
                    state = states.get(key)
                    if state is not None and state.result is not None and state.result.status == "ok":
                        costs.setdefault(board_class, {})[half] = half_cost(state.result)
            thrift.learn(candidate, costs)
        for board_class, qualities in thrift.qualities().items():
            for name, quality in qualities.items():
                data = {"objective": f"{name}@{board_class}", "halves": quality.halves, "mape": 100 * quality.mape,
                        "tau": quality.tau, "used": quality.usable}  # fmt: skip
                job.note(PREDICTOR, f"{name}@{board_class}: {quality}", data)
