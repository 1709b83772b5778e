"""The search under Ray Tune: Tune places and watches trials, the session decides what they are.

A trial is the accuracy and the export of one candidate, on a reused actor that keeps its evaluator (the supernet and
the validation images) in memory; a fresh actor costs seconds, a reused one a tenth. Tune's `reuse_actors` drops an
actor that ends a trial while none is pending, so trials are handed out ahead: a first one for whoever ends next, for
which Tune's loop waits, and a second one, so that the searcher can think meanwhile.
Resuming is from our own store; `Tuner.restore` is not used.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.search import Searcher as TuneSearcher

from nas_service.bar import Bar
from nas_service.evaluation_report import EvaluationReport
from nas_service.tune.driver_memory import memory_told
from nas_service.tune.driver_starting import StartingScheduler
from nas_service.tune.session import SearchSession

AHEAD = 2  # trials that are handed out beside those that run
_IDLE_S = 0.05
_BOARDS_S = 0.2  # how often the boards' answers are looked at


class Evaluator(Protocol):
    """What a trial runs; made once per actor by the factory given to `run_search`."""

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        """Evaluate one candidate, to the end or until it is below the bar; a failure is returned, never raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSetting:
    """How many evaluators there are and what each takes; amounts are Ray's logical resources."""

    count: int
    cpus: float
    gpus: float = 0.0


class CandidateTrial(tune.Trainable):
    """One candidate, evaluated by the evaluator that this actor keeps between trials."""

    def setup(  # type: ignore[override]  # tune.with_parameters adds arguments
        self, config: dict[str, Any], factory: Callable[..., Evaluator], parameters: dict[str, Any]
    ) -> None:
        """Make the evaluator: once per actor, not per trial."""
        self._evaluator = factory(**parameters)
        self._config = config

    def step(self) -> dict[str, Any]:
        """Evaluate the candidate and end the trial with its report."""
        config = self._config
        bar = None if config["bar"] is None else Bar.from_dict(config["bar"])
        report = self._evaluator.evaluate(config["candidate"], config["architecture"], config["exports"], bar)
        return {"report": report.to_json(), tune.result.DONE: True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next candidate; True lets Tune reuse the actor."""
        self._config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A trial has nothing to save: its report is its only product."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """A trial that is started again begins anew."""


class SessionSearcher(TuneSearcher):
    """Ray Tune's view of a search session.

    Args:
        session: The session.
        evaluators: How many trials run at once.
        stop_requested: Asked before each suggestion; True ends the search at what is in flight.
        progress: Called with (told, in flight) when something changed.
    """

    def __init__(
        self,
        session: SearchSession,
        *,
        evaluators: int,
        stop_requested: Callable[[], bool],
        progress: Callable[[int, int], None],
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._session, self._evaluators = session, evaluators
        self._stop_requested, self._progress = stop_requested, progress
        self._trials: dict[str, str] = {}
        self._looked_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts for a restore that we do not use, and a session holds a store."""
        return {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say that the limit is kept here, so that Tune does not keep a tighter one."""
        return True

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept; objectives are the session's."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next candidate as a trial's configuration, None to be asked again, or FINISHED."""
        while True:
            self._look_at_boards()
            if self._stop_requested():
                return TuneSearcher.FINISHED
            pending = len(self._trials) - self._evaluators
            candidate = self._session.next(wait=pending <= 0) if pending < AHEAD else None
            if candidate is not None:
                self._trials[trial_id] = candidate.id
                exports = self._session.wanted_exports(candidate)
                self._progress(self._session.told, self._session.in_flight)
                bar = self._session.bar(candidate)
                return {
                    "candidate": candidate.id,
                    "architecture": candidate.architecture,
                    "exports": exports,
                    "bar": None if bar is None else bar.to_dict(),
                }
            if self._session.finished:
                return TuneSearcher.FINISHED
            if self._trials:
                return None
            time.sleep(_IDLE_S)  # only boards are at work: Tune would sleep for a second between questions

    def _look_at_boards(self) -> None:
        if time.monotonic() - self._looked_at >= _BOARDS_S:
            self._looked_at = time.monotonic()
            if self._session.poll():
                self._progress(self._session.told, self._session.in_flight)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial reports once, when it completes."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand the trial's report to the session; a trial that died in spite of retries fails its candidate."""
        candidate_id = self._trials.pop(trial_id, None)
        if candidate_id is None:
            return
        if result is not None and "report" in result:
            self._session.evaluated(EvaluationReport.from_json(result["report"]))
        else:
            self._session.trial_lost(candidate_id, "its evaluator died three times; see the logs of the Ray worker")
        self._progress(self._session.told, self._session.in_flight)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is in our own store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the state is in our own store."""


def run_search(
    session: SearchSession,
    *,
    factory: Callable[..., Evaluator],
    parameters: dict[str, Any],
    evaluators: EvaluatorSetting,
    stop_requested: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda told, in_flight: None,
    log_dir: Path | None = None,
) -> None:
    """Run one strategy to the end of its budget, of the space, or until a stop is requested.

    Args:
        session: What to search.
        factory: Makes an evaluator on a worker, called once per actor with `parameters`.
        parameters: Put into the object store once, so that each node fetches large ones (weights) once.
        evaluators: How many trials run at once and what each takes.
        stop_requested: Asked before each suggestion.
        progress: Called with (told, in flight).
        log_dir: Where Tune keeps its experiment state; a temporary folder if None, since nothing is restored from it.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # nothing is restored from Tune's own snapshots
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)  # it misses files that we do not write
    searcher = SessionSearcher(session, evaluators=evaluators.count, stop_requested=stop_requested, progress=progress)
    with tempfile.TemporaryDirectory(prefix="nas-tune-") as scratch:
        trainable = tune.with_resources(
            tune.with_parameters(CandidateTrial, factory=factory, parameters=parameters),
            {"cpu": evaluators.cpus, "gpu": evaluators.gpus},
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=StartingScheduler(evaluators.count),
                num_samples=-1,
                max_concurrent_trials=evaluators.count,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name="search",
                storage_path=str(log_dir or scratch),
                verbose=0,
                failure_config=FailureConfig(max_failures=2),
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        with memory_told():
            tuner.fit()
