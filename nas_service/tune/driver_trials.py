"""Tuning under Ray Tune: Tune places and watches legs of trials, the session decides what they are and when they end.

A Tune trial is one leg, an epoch a step, on a reused actor that keeps the data set in memory. Each epoch's report goes
through the scheduler into the session, which records it and says whether the leg goes on. Who is given up is decided by
Ray Tune's `ASHAScheduler`, told of trials by our own numbers, so that a new one can be told the recorded epochs again.
`PopulationBasedTraining` is not used: it keeps weights on a disk that all nodes share and its state in pickles, and its
perturbed values leave their ranges. Nothing is restored from Tune's own files.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol, cast

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher as TuneSearcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas_service.job_tune import Tune
from nas_service.tune.driver import EvaluatorSetting
from nas_service.tune.driver_memory import memory_told
from nas_service.tune.driver_starting import StartingScheduler
from nas_service.tune.trials import Start, TuneSession
from nas_service.tuning import TrialReport

_IDLE_S = 0.05
_VALUE, _EPOCH = "value", "epoch"
REDUCTION = 3


class TrialRunner(Protocol):
    """What trains a leg; made once per actor by the factory given to `run_trials`."""

    def begin(self, parameters: dict[str, Any], checkpoint: bytes | None) -> None:
        """Forget the last leg and take the next one; nothing is trained yet."""

    def epoch(self) -> TrialReport:
        """Train one epoch; a failure is returned, never raised."""


class RayAsha:
    """Ray Tune's asynchronous successive halving, as a `Stopper`: told of our trials, it can be told them again.

    Args:
        tune: The method's settings.
        epochs: The most epochs of a trial.
    """

    def __init__(self, tune: Tune, *, epochs: int) -> None:
        self._scheduler = ASHAScheduler(
            time_attr=_EPOCH,
            metric=_VALUE,
            mode="max",
            max_t=epochs,
            grace_period=min(tune.grace_epochs or 1, epochs),
            reduction_factor=tune.reduction or REDUCTION,
        )
        self._trials: dict[int, SimpleNamespace] = {}

    def goes_on(self, trial: int, *, epoch: int, value: float) -> bool:
        """Return whether the trial goes on after this epoch."""
        if trial not in self._trials:
            self._trials[trial] = SimpleNamespace(trial_id=str(trial))
            self._scheduler.on_trial_add(None, self._trials[trial])  # type: ignore[arg-type]  # it reads the id only
        told = {_EPOCH: epoch, _VALUE: value}
        verdict = self._scheduler.on_trial_result(None, self._trials[trial], told)  # type: ignore[arg-type]
        return verdict != TrialScheduler.STOP


@ray.remote(num_cpus=0)
class CheckpointShelf:
    """Holds the last checkpoint of every trial in flight, so that a worker can begin, or begin again, from there."""

    def __init__(self) -> None:
        self._data: dict[int, bytes | None] = {}

    def put(self, trial: int, data: bytes | None) -> None:
        """Keep a trial's last checkpoint, None for a trial that has none."""
        self._data[trial] = data

    def take(self, trial: int) -> bytes | None:
        """Return it."""
        return self._data.get(trial)

    def drop(self, trial: int) -> None:
        """Forget a trial that is in flight no more."""
        self._data.pop(trial, None)


class TrialLeg(tune.Trainable):
    """One leg, trained by the runner that this actor keeps between legs."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds arguments
        self, config: dict[str, Any], factory: Callable[..., TrialRunner], parameters: dict[str, Any], shelf: Any
    ) -> None:
        """Make the runner: once per actor, not per leg."""
        self._runner, self._shelf = factory(**parameters), shelf
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._runner.begin(config["parameters"], ray.get(self._shelf.take.remote(config["trial"])))

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        return {"report": [self._runner.epoch()]}  # in a list, from which the driver takes it, so that Tune keeps none

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next leg; True lets Tune reuse the actor."""
        self._begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints travel with the reports."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: a leg that is started again asks the shelf."""


class LegScheduler(StartingScheduler):
    """Hands each epoch's report to the session and does what it says.

    Args:
        session: The session.
        workers: How many actors train.
        shelf: The actor that holds checkpoints.
        stop_requested: Asked after each epoch; True ends the leg, which can be resumed.
        progress: Called when something changed.
    """

    def __init__(
        self,
        session: TuneSession,
        *,
        workers: int,
        shelf: Any,
        stop_requested: Callable[[], bool],
        progress: Callable[[], None],
    ) -> None:
        super().__init__(workers)
        self._session, self._shelf = session, shelf
        self._stop_requested, self._progress = stop_requested, progress

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts for a restore that we do not use."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Record an epoch; say whether the leg goes on."""
        number, report = int(trial.config["trial"]), cast(TrialReport, result["report"].pop())
        goes_on = self._session.reached(number, report)
        self._progress()
        if goes_on:
            self._shelf.put.remote(number, report.checkpoint)
        goes_on = goes_on and not self._stop_requested()
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def debug_string(self) -> str:
        """Return a line for Tune's log."""
        return f"{self._session.in_flight} trials in flight"


class LegSearcher(TuneSearcher):
    """Ray Tune's view of a tuning session; the arguments are those of `LegScheduler`."""

    def __init__(self, session: TuneSession, *, shelf: Any, workers: int, stop_requested: Callable[[], bool]) -> None:
        super().__init__(metric=None, mode=None)
        self._session, self._shelf, self._stop_requested = session, shelf, stop_requested
        self._ahead = workers + 1  # Tune drops a reused actor that ends its trial while none is pending
        self._trials: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts for a restore that we do not use."""
        return {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say that the limit is kept here, so that Tune does not keep a tighter one."""
        return True

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept; the metric is the session's."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next leg as a trial's configuration, None to be asked again, or FINISHED."""
        while True:
            if self._stop_requested():
                return TuneSearcher.FINISHED
            start = self._session.next() if len(self._trials) < self._ahead else None
            if start is not None:
                return self._configuration(trial_id, start)
            if self._session.finished:
                return TuneSearcher.FINISHED
            if self._trials:
                return None
            time.sleep(_IDLE_S)

    def _configuration(self, trial_id: str, start: Start) -> dict[str, Any]:
        self._trials[trial_id] = start.leg.trial
        ray.get(self._shelf.put.remote(start.leg.trial, start.checkpoint))
        return {"trial": start.leg.trial, "parameters": start.leg.parameters}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the scheduler has told the session."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Forget the leg; one whose worker died in spite of retries fails its trial."""
        number = self._trials.pop(trial_id, None)
        if number is None:
            return
        if number not in self._trials.values():
            self._shelf.drop.remote(number)
        if error:
            self._session.lost(number, "its worker died three times; see the logs of the Ray worker")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is in our own store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the state is in our own store."""


def run_trials(
    session: TuneSession,
    *,
    factory: Callable[..., TrialRunner],
    parameters: dict[str, Any],
    workers: EvaluatorSetting,
    stop_requested: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Train until every trial is over or a stop is requested.

    Args:
        session: What to train.
        factory: Makes a runner on a worker, called once per actor with `parameters`.
        parameters: Put into the object store once.
        workers: How many trials run at once and what each takes.
        stop_requested: Asked after each epoch and before each leg.
        progress: Called after each epoch.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # nothing is restored from Tune's own snapshots
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)  # it misses files that we do not write
    if session.finished:
        return
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    shelf = cast(Any, CheckpointShelf).options(scheduling_strategy=here).remote()  # no other machine's end takes it
    with tempfile.TemporaryDirectory(prefix="nas-trials-") as scratch:
        trainable = tune.with_resources(
            tune.with_parameters(TrialLeg, factory=factory, parameters=parameters, shelf=shelf),
            {"cpu": workers.cpus, "gpu": workers.gpus},
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=LegSearcher(session, shelf=shelf, workers=workers.count, stop_requested=stop_requested),
                scheduler=LegScheduler(
                    session,
                    workers=workers.count,
                    shelf=shelf,
                    stop_requested=stop_requested,
                    progress=progress,
                ),
                num_samples=-1,
                max_concurrent_trials=workers.count,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                failure_config=FailureConfig(max_failures=2),
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        with memory_told():
            tuner.fit()
    ray.kill(shelf)
