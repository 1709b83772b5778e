"""Jobs of kind `search` and `train`: a supernet, then the strategies over it, then the finalists."""

from __future__ import annotations

import time
from collections.abc import Callable

import ray

from cluster.audit_phase import AuditPhase
from cluster.evaluator import SearchEvaluator
from cluster.finalists import FinalistPhase
from cluster.job_context import JobContext
from cluster.measurer import GatewayMeasurer, job_measurer
from cluster.search_curve import SearchCurve
from cluster.space_table import SpaceTable
from cluster.training_phase import StopRequestedError, Trained, device, train_supernet
from nas_service.candidate import CandidateStatus
from nas_service.class_cost import ClassCost
from nas_service.errors import InvalidRequestError
from nas_service.front_query import FrontCandidate
from nas_service.job_state import JobState
from nas_service.priced import priced_candidates
from nas_service.search import Searcher, make_searcher
from nas_service.search.listed import ListedSearcher
from nas_service.tune.driver import EvaluatorSetting, run_search
from nas_service.tune.memory import Known
from nas_service.tune.prospects import unmet_text
from nas_service.tune.session import SearchSession
from nas_service.tune.task import Task
from nas_service.tune.warm import warm_start

UNITS = {"latency_ms": "ms", "energy_mj": "mJ"}


class TrainJob:
    """Trains a supernet and keeps it.

    Args:
        job: What to work with.
    """

    def __init__(self, job: JobContext) -> None:
        self._job = job

    def run(self) -> str | None:
        """Train, from the last epoch on; there is nothing to say of the outcome."""
        self._train()
        return None

    def _train(self) -> Trained:
        job = self._job
        job.enter(JobState.TRAINING)
        return train_supernet(
            job.job_id, job.spec, store=job.store, work=job.work, scalars=job.scalars, cost=self._cost()
        )

    def _cost(self) -> Callable[[], ClassCost] | None:
        """Return what makes the cost that a search during training counts on a board class; None where it counts MACs.

        It has boards of the class measure the space first.
        """
        job = self._job
        cost = next((s.board_cost for s in job.spec.strategy if s.board_cost is not None), None)
        if cost is None or cost.board_class is None:
            return None
        board_class, quantity = cost.board_class, cost.name

        def measured() -> ClassCost:
            foresight = SpaceTable(job, [board_class]).measure()[board_class]
            return ClassCost(unit=f"{UNITS[quantity]} on {board_class}", predictor=foresight.predictor(quantity))

        return measured


class SearchJob(TrainJob):
    """Trains a supernet, runs the strategies one after the other, and finishes the best candidates."""

    def run(self) -> str | None:
        """Run all phases; those that are done already cost nothing. Return what there is to say of the outcome."""
        job, trained = self._job, self._train()
        job.enter(JobState.SEARCHING)
        measurer, curve = job_measurer(job.spec), SearchCurve(job)
        for index in range(len(job.spec.strategy)):
            self._search(index, trained, measurer, curve)
        job.enter(JobState.FINISHING)
        FinalistPhase(job.job_id, job.spec, trained=trained, store=job.store, work=job.work, measurer=measurer).run()
        AuditPhase(job, trained).run()
        return self._unmet()

    def _unmet(self) -> str | None:
        store, job_id = self._job.store, self._job.job_id

        def price() -> list[FrontCandidate]:
            return priced_candidates(store.candidates.list(job_id, with_curves=True), store.fleet)

        return unmet_text(store.candidates.list(job_id), self._job.spec.constraints, price=price)

    def _search(self, index: int, trained: Trained, measurer: GatewayMeasurer | None, curve: SearchCurve) -> None:
        job = self._job
        spec, strategy = job.spec, job.spec.strategy[index]
        session = SearchSession(
            Task(spec=spec, job_id=job.job_id, strategy_index=index),
            searcher=self._searcher(index, trained),
            space=trained.space,
            archive=job.store.candidates,
            measurer=measurer,
            warm=self._warm(trained),
            note=lambda kind, text: job.note(kind, text),
        )
        if session.told >= strategy.evaluations:
            return
        started = time.monotonic()
        job.note("strategy", f"{strategy.name}: {strategy.evaluations} candidates, {session.told} known")
        run_session(
            session,
            job,
            trained,
            progress=lambda told, in_flight: self._progress(strategy.name, in_flight, len(session.held), curve),
        )
        if job.stop_requested():
            raise StopRequestedError(f"stopped in strategy {strategy.name} after {session.told} candidates")
        job.note("strategy", f"{strategy.name}: done in {time.monotonic() - started:.1f} s")

    def _warm(self, trained: Trained) -> list[Known]:
        """Return what the jobs of the warm start have found, by this job's measure."""
        job, store = self._job, self._job.store
        earlier = [c for name in job.spec.warm_start for c in store.candidates.list(name, with_curves=True)]
        if not earlier:
            return []
        known = warm_start(
            earlier,
            priced_candidates(earlier, store.fleet),
            spec=job.spec,
            space=trained.space,
            split_hashes=trained.split_hashes,
        )
        job.note("warm_start", f"{len(known)} candidates of {', '.join(job.spec.warm_start)} are known to the searcher")
        return known

    def _searcher(self, index: int, trained: Trained) -> Searcher:
        spec, strategy = self._job.spec, self._job.spec.strategy[index]
        if strategy.trains:
            return ListedSearcher(trained.found, space=trained.space)
        return make_searcher(
            strategy.name,
            trained.space,
            objectives=spec.objectives,
            seed=spec.seed + index,
            budget=strategy.evaluations,
        )

    def _progress(self, strategy: str, in_flight: int, held: int, curve: SearchCurve) -> None:
        job = self._job
        counts = job.store.candidates.count(job.job_id)
        done = counts.get(CandidateStatus.FINISHED, 0) + counts.get(CandidateStatus.FAILED, 0)
        total = sum(s.evaluations for s in job.spec.strategy)
        waiting = f", {held} of them wait for a board to come back" if held else ""
        job.progress("searching", done=done, total=total, detail=f"{strategy}, {in_flight} in flight{waiting}")
        curve.update()


def run_session(
    session: SearchSession, job: JobContext, trained: Trained, *, progress: Callable[[int, int], None]
) -> None:
    """Run a session under Ray Tune on the evaluators that the job asks for, each with the trained supernet.

    Args:
        session: What to evaluate.
        job: Its resources and router, and whether the user asked for a stop.
        trained: The supernet and the data.
        progress: Is told how many candidates have ended, and how many are under way.

    Raises:
        StopRequestedError: candidates are left that no board was there to measure; a resume goes on with them.
        InvalidRequestError: searching on would find nothing, such as for a figure that no board gives.
    """
    evaluators = job.spec.resources.evaluators
    run_search(
        session,
        factory=SearchEvaluator,
        parameters={
            "definition": trained.definition,
            "checkpoint": trained.checkpoint,
            "data": ray.get(trained.data),
            "router": job.spec.router,
            "device": device(evaluators.gpus),
        },
        evaluators=EvaluatorSetting(count=evaluators.count, cpus=evaluators.cpus, gpus=evaluators.gpus),
        stop_requested=job.stop_requested,
        progress=progress,
    )
    if job.stop_requested():
        return
    if session.unmeasured is not None:
        raise StopRequestedError(session.unmeasured)
    if session.dead_end is not None:
        raise InvalidRequestError(session.dead_end)
