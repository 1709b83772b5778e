"""Curves of a job beside the store's own: TensorBoard files and an MLflow server, both only where a job asks for them.

Names are paths such as `training/losses/big`; a step is an epoch, or the number of candidates that were told. A job
that is resumed goes on in the same folder and the same MLflow run.
"""

from __future__ import annotations

import importlib.util
import logging as python_logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nas_service.errors import InvalidRequestError
from nas_service.job_parts import Logging

# MLflow's own patience is seven tries in four minutes: a job would stand still for them at its start or after an epoch.
MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
EXTRAS = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}
EXPERIMENT = "biglittle-nas"

_log = python_logging.getLogger(__name__)


class ScalarLog(Protocol):
    """Takes figures by name as they come."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep the figures of one step."""

    def close(self) -> None:
        """Write what is left."""


class NoLog:
    """Keeps nothing: what a job has that asks for no log."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


NO_LOG: ScalarLog = NoLog()


class Logs:
    """Several logs as one; one that fails gets nothing more, and the job goes on.

    Args:
        logs: All of them get all figures.
    """

    def __init__(self, logs: Sequence[ScalarLog]) -> None:
        self._logs = list(logs)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Hand the figures to every log."""
        self._each(lambda log: log.log(step, figures))

    def close(self) -> None:
        """Close every log."""
        self._each(lambda log: log.close())

    def _each(self, use: Callable[[ScalarLog], None]) -> None:
        for log in list(self._logs):
            try:
                use(log)
            except Exception:  # a full disk, a server that went away: no reason to lose a job
                _log.exception("%s failed and gets nothing more", type(log).__name__)
                self._logs.remove(log)


class TensorBoardLog:
    """Writes event files that TensorBoard reads.

    Args:
        folder: Of this job; files of an earlier run of it stay.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        # its own names tell seconds apart, so a job that is resumed at once would lose what it had written
        self._writer: Any = SummaryWriter(str(folder), filename_suffix=f".{time.time_ns()}")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures, at once."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class MlflowLog:
    """Logs to a run of an MLflow server, found again by the job's id.

    Args:
        uri: The tracking server; a folder as file:/PATH if MLflow's settings allow one.
        job_id: The run's name and tag.
        parameters: Logged once, with a new run.
    """

    def __init__(self, uri: str, *, job_id: str, parameters: Mapping[str, str]) -> None:
        for name, value in MLFLOW_PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        known = self._client.search_runs([number], filter_string=f"tags.nas_job = '{job_id}'", max_results=1)
        if known:
            self._run = known[0].info.run_id
            return
        self._run = self._client.create_run(number, run_name=job_id, tags={"nas_job": job_id}).info.run_id
        for name, value in parameters.items():
            self._client.log_param(self._run, name, value)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send the figures."""
        for name, value in figures.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """End the run; a resumed job opens it again."""
        self._client.set_terminated(self._run)


def missing_extras(logging: Logging) -> list[tuple[str, str]]:
    """Return what a job's logging needs and this machine lacks, as (key, advice)."""
    wanted = [name for name in EXTRAS if getattr(logging, name)]
    return [
        (name, f"needs the package {EXTRAS[name]!r}, which is not installed where the service runs; install it there "
               f"(pip install 'biglittle-nas[{name}]'), or remove logging.{name}")
        for name in wanted
        if importlib.util.find_spec(EXTRAS[name]) is None
    ]  # fmt: skip


def open_scalar_log(logging: Logging, *, folder: Path, job_id: str, parameters: Mapping[str, str]) -> ScalarLog:
    """Return the log that a job asks for; one that keeps nothing if it asks for none.

    Args:
        logging: What the job says.
        folder: For TensorBoard's files.
        job_id: For MLflow's run.
        parameters: What MLflow shall tell of the job.

    Raises:
        InvalidRequestError: a package is missing, or MLflow cannot be reached.
    """
    if missing := missing_extras(logging):
        raise InvalidRequestError("; ".join(f"logging.{key}: {advice}" for key, advice in missing))
    logs: list[ScalarLog] = []
    if logging.tensorboard:
        logs.append(TensorBoardLog(folder))
    if logging.mlflow is not None:
        try:
            logs.append(MlflowLog(logging.mlflow, job_id=job_id, parameters=parameters))
        except Exception as error:  # whatever MLflow raises for a server that is not there
            raise InvalidRequestError(
                f"logging.mlflow: {logging.mlflow!r} cannot be used ({type(error).__name__}: {error}); check the "
                "address and that the server runs, or remove logging.mlflow"
            ) from error
    return Logs(logs) if logs else NO_LOG
