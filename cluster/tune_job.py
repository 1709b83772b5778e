"""Jobs of kind `tune`: hyperparameters of supernet training, searched by trials under Ray Tune."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.job_context import JobContext
from cluster.training_phase import StopRequestedError, dataset_spec, device
from cluster.trial_runner import SupernetTrials
from nas_service.errors import NasError
from nas_service.job_state import JobState
from nas_service.job_tune import Tune
from nas_service.space import load_definition
from nas_service.tune.driver import EvaluatorSetting
from nas_service.tune.driver_trials import RayAsha, run_trials
from nas_service.tune.methods import make_method
from nas_service.tune.trials import TuneSession
from nas_service.tuning import Entry, TrialReport, Tuning, parameters_text, value_of
from nas_service.whole_file import write_whole

_NAME = re.compile(r"trial-(\d+)-epoch-(\d+)\.safetensors")


class EventJournal:
    """A job's events as a tuning's journal.

    Args:
        job: Whose events.
    """

    def __init__(self, job: JobContext) -> None:
        self._job = job

    def append(self, kind: str, message: str, data: dict[str, Any]) -> None:
        """Keep one more entry."""
        self._job.note(kind, message, data)

    def entries(self) -> list[Entry]:
        """Return all events, in order."""
        return list(self._job.store.jobs.history(self._job.job_id))


class TrialFiles:
    """Checkpoints of trials as files of one folder.

    Args:
        folder: Made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, trial: int, epoch: int, data: bytes) -> None:
        """Keep the checkpoint of a trial's epoch, whole or not at all."""
        write_whole(self._path(trial, epoch), data, mode=0o600, folder_mode=0o700)

    def load(self, trial: int, epoch: int) -> bytes | None:
        """Return it, None if it is not there."""
        path = self._path(trial, epoch)
        return path.read_bytes() if path.exists() else None

    def drop(self, keeps: Callable[[int, int], bool]) -> None:
        """Remove those for whose trial and epoch `keeps` says no."""
        for path in self._folder.glob("trial-*.safetensors"):
            found = _NAME.fullmatch(path.name)
            if found and not keeps(int(found[1]), int(found[2])):
                path.unlink(missing_ok=True)

    def _path(self, trial: int, epoch: int) -> Path:
        return self._folder / f"trial-{trial}-epoch-{epoch}.safetensors"


class TuneJob:
    """Trains trials until all are over, and keeps the best one's supernet.

    Args:
        job: What to work with.
    """

    def __init__(self, job: JobContext) -> None:
        assert job.spec.tune is not None
        assert job.spec.supernet.epochs is not None
        self._job, self._tune, self._epochs = job, job.spec.tune, job.spec.supernet.epochs
        self._files = TrialFiles(job.work)

    def run(self) -> None:
        """Run what is left of the trials.

        Raises:
            StopRequestedError: after an epoch, if the user asked for it.
            NasError: every trial failed.
        """
        job, tune = self._job, self._tune
        job.enter(JobState.TRAINING)
        session = self._session(tune)
        known = len(session.tuning.trials)
        job.note("tuning", f"{tune.method}: {tune.trials} trials of up to {self._epochs} epochs, {known} known")
        self._progress(session)
        workers = job.spec.resources.evaluators
        run_trials(
            session,
            factory=SupernetTrials,
            parameters={
                "spec": job.spec,
                "definition": load_definition(
                    job.spec.space.preset, couplings=job.spec.space.couplings, activation=job.spec.space.activation
                ),
                "dataset": dataset_spec(job.spec, cache=job.work.parent / "data"),
                "device": device(workers.gpus),
            },
            workers=EvaluatorSetting(count=workers.count, cpus=workers.cpus, gpus=workers.gpus),
            stop_requested=job.stop_requested,
            progress=lambda: self._progress(session),
        )
        if not session.finished:
            raise StopRequestedError(f"stopped after {session.done_epochs} of {session.total_epochs} epochs")
        self._conclude(session.tuning)

    def _session(self, tune: Tune) -> TuneSession:
        method = make_method(
            tune, epochs=self._epochs, seed=self._job.spec.seed, stopper=RayAsha(tune, epochs=self._epochs)
        )
        return TuneSession(
            tune,
            epochs=self._epochs,
            journal=EventJournal(self._job),
            checkpoints=self._files,
            method=method,
            on_rung=self._log,
        )

    def _conclude(self, tuning: Tuning) -> None:
        best = tuning.best
        if best is None:
            first = next(iter(tuning.trials.values()))
            raise NasError(f"every trial failed, the first one so: {first.error}; widen or lower tune.parameters")
        checkpoint = self._files.load(best.number, best.epoch)
        if checkpoint is not None:
            self._job.store.jobs.set_artefact(self._job.job_id, "supernet", self._job.store.files.put(checkpoint))
        value = 100 * (best.value or 0.0)
        message = f"best is trial {best.number} at {value:.2f} %: {parameters_text(best.parameters)}"
        told = {"trial": best.number, "value": best.value, "parameters": best.parameters}
        self._job.note("tuned", message, told)
        self._files.drop(lambda trial, epoch: False)

    def _progress(self, session: TuneSession) -> None:
        tuning = session.tuning
        best = tuning.best
        shown = "" if best is None else f", best {100 * (best.value or 0.0):.1f} % at epoch {best.epoch}"
        detail = f"trial {len(tuning.trials)} of {self._tune.trials}{shown}"
        self._job.progress("tuning", done=session.done_epochs, total=session.total_epochs, detail=detail)

    def _log(self, trial: int, report: TrialReport) -> None:
        figures = {f"losses/{name}": value for name, value in report.losses.items()}
        figures |= {f"accuracies/{name}": value for name, value in report.accuracies.items()}
        figures |= {"value": value_of(report.accuracies, self._tune.metric), "learning_rate": report.learning_rate}
        self._job.scalars.log(report.epoch, {f"trial-{trial}/{name}": value for name, value in figures.items()})
