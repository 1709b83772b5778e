"""The driver of one job: a Ray job on the head that trains, searches and finishes, and can be killed at any point.

Everything it needs to go on is in the store: `nas resume` starts a new driver, which finds the supernet trained, the
candidates told and the measurements made, and goes on from there.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
import traceback
from pathlib import Path

import ray

from cluster.job_context import JobContext
from cluster.kinds import KINDS
from cluster.training_phase import StopRequestedError
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.job import JobSpec
from nas_service.job_state import JobState
from nas_service.scalar_log import EXPERIMENT, ScalarLog, open_scalar_log
from nas_service.settings import Settings
from nas_service.store import Store

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
            return self._end(JobState.FINISHED, self._phases())
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

    def _phases(self) -> str | None:
        scalars = self._open_log()
        job = JobContext(
            job_id=self._job_id,
            spec=self._spec,
            store=self._store,
            work=self._home.work / self._job_id,
            scalars=scalars,
        )
        try:
            return KINDS[self._spec.kind](job).run()
        finally:
            scalars.close()

    def _open_log(self) -> ScalarLog:
        asked, folder = self._spec.logging, self._home.logs / "tensorboard" / self._job_id
        parameters = {"kind": self._spec.kind, "spec_hash": self._spec.hash(), "seed": str(self._spec.seed)}
        opened = open_scalar_log(asked, folder=folder, job_id=self._job_id, parameters=parameters)
        if asked.tensorboard:
            self._note("logging", f"TensorBoard files lie in {folder}; see them with `tensorboard --logdir {folder}`")
        if asked.mlflow is not None:
            self._note("logging", f"MLflow run {self._job_id} of experiment {EXPERIMENT} at {asked.mlflow}")
        return opened

    def _note(self, kind: str, text: str) -> None:
        self._store.jobs.append_event(self._job_id, kind, text)


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
