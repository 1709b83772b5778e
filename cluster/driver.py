"""The driver of one job: a Ray job on the head that trains, searches and finishes, and can be killed at any point.

Everything it needs to go on is in the store: `nas resume` starts a new driver, which finds the supernet trained, the
candidates told and the measurements made, and goes on from there.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
import time
import traceback
from pathlib import Path

import ray

from cluster.evaluator import SearchEvaluator
from cluster.finalists import FinalistPhase
from cluster.gateway.actor import GatewayClient, find_gateway
from cluster.measurer import GatewayMeasurer
from cluster.training_phase import StopRequestedError, Trained, device, train_supernet
from nas_service.candidate import CandidateStatus
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.job import JobSpec
from nas_service.job_state import JobState
from nas_service.search import Searcher, make_searcher
from nas_service.search.listed import ListedSearcher
from nas_service.settings import Settings
from nas_service.store import Store
from nas_service.store.job_record import Progress
from nas_service.tune.driver import EvaluatorSetting, run_search
from nas_service.tune.session import SearchSession

log = logging.getLogger(__name__)
BEAT_S = 5.0


class JobRun:
    """One run of one job, from whatever the last run left."""

    def __init__(self, job_id: str, *, home: Home, store: Store) -> None:
        self._job_id, self._home, self._store = job_id, home, store
        self._spec: JobSpec = store.jobs.get(job_id).spec

    def run(self) -> JobState:
        """Run the job to its end and return the state that it ended in; nothing is raised."""
        try:
            self._phases()
            return self._end(JobState.FINISHED, None)
        except StopRequestedError as stop:
            return self._end(JobState.STOPPED, str(stop))
        except NasError as error:
            return self._end(JobState.FAILED, str(error))
        except Exception as error:
            self._note("traceback", traceback.format_exc())
            reason = f"{type(error).__name__}: {error}"
            return self._end(JobState.FAILED, f"unexpected {reason}; `nas logs {self._job_id}` has the traceback")

    def _end(self, state: JobState, message: str | None) -> JobState:
        self._store.jobs.transition(self._job_id, state, message)
        return state

    def _phases(self) -> None:
        jobs = self._store.jobs
        jobs.transition(self._job_id, JobState.TRAINING)
        trained = train_supernet(self._job_id, self._spec, store=self._store, work=self._home.work / self._job_id)
        if self._spec.kind == "train":
            return
        jobs.transition(self._job_id, JobState.SEARCHING)
        measurer = GatewayMeasurer(GatewayClient(find_gateway())) if self._spec.board_classes() else None
        for index in range(len(self._spec.strategy)):
            self._search(index, trained, measurer)
        jobs.transition(self._job_id, JobState.FINISHING)
        FinalistPhase(self._job_id, self._spec, trained=trained, store=self._store, measurer=measurer).run()

    def _search(self, index: int, trained: Trained, measurer: GatewayMeasurer | None) -> None:
        spec, strategy = self._spec, self._spec.strategy[index]
        searcher = self._searcher(index, trained)
        session = SearchSession(
            spec,
            job_id=self._job_id,
            strategy_index=index,
            searcher=searcher,
            space=trained.space,
            archive=self._store.candidates,
            measurer=measurer,
            note=lambda kind, text: self._note(kind, text),
        )
        if session.told >= strategy.evaluations:
            return
        started = time.monotonic()
        self._note("strategy", f"{strategy.name}: {strategy.evaluations} candidates, {session.told} known")
        evaluators = spec.resources.evaluators
        run_search(
            session,
            factory=SearchEvaluator,
            parameters={
                "definition": trained.definition,
                "checkpoint": trained.checkpoint,
                "data": ray.get(trained.data),
                "router": spec.router,
                "device": device(evaluators.gpus),
            },
            evaluators=EvaluatorSetting(count=evaluators.count, cpus=evaluators.cpus, gpus=evaluators.gpus),
            stop_requested=lambda: self._store.jobs.stop_requested(self._job_id),
            progress=lambda told, in_flight: self._progress(strategy.name, in_flight),
        )
        if self._store.jobs.stop_requested(self._job_id):
            raise StopRequestedError(f"stopped in strategy {strategy.name} after {session.told} candidates")
        self._note("strategy", f"{strategy.name}: done in {time.monotonic() - started:.1f} s")

    def _searcher(self, index: int, trained: Trained) -> Searcher:
        spec, strategy = self._spec, self._spec.strategy[index]
        if strategy.trains:
            return ListedSearcher(trained.found, space=trained.space)
        return make_searcher(
            strategy.name,
            trained.space,
            objectives=spec.objectives,
            seed=spec.seed + index,
            budget=strategy.evaluations,
        )

    def _note(self, kind: str, text: str) -> None:
        self._store.jobs.append_event(self._job_id, kind, text)

    def _progress(self, strategy: str, in_flight: int) -> None:
        counts = self._store.candidates.count(self._job_id)
        done = counts.get(CandidateStatus.FINISHED, 0) + counts.get(CandidateStatus.FAILED, 0)
        total = sum(s.evaluations for s in self._spec.strategy)
        self._store.jobs.set_progress(
            self._job_id,
            Progress(phase="searching", done=done, total=max(total, done), detail=f"{strategy}, {in_flight} in flight"),
        )


def _beat(store: Store, job_id: str, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        store.jobs.beat(job_id)


def main() -> int:
    """Run one job in this process, inside the cluster that Ray's job environment names."""
    parser = argparse.ArgumentParser(prog="python -m cluster.driver", description="Run one job of the store.")
    parser.add_argument("job")
    parser.add_argument("--home", required=True, type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("alembic", "ray.tune"):
        logging.getLogger(name).setLevel(logging.WARNING)
    home, over = Home(arguments.home), threading.Event()
    ray.init(namespace="nas", log_to_driver=False)
    settings = Settings.from_environment()
    with Store.open(home, store_url=settings.store_url, files_url=settings.files_url) as store:
        store.jobs.beat(arguments.job)
        threading.Thread(target=_beat, args=(store, arguments.job, over), daemon=True).start()
        try:
            state = JobRun(arguments.job, home=home, store=store).run()
        finally:
            over.set()
    log.info("job %s is %s (driver %d)", arguments.job, state.value, os.getpid())
    return 0 if state is not JobState.FAILED else 1


if __name__ == "__main__":
    raise SystemExit(main())
