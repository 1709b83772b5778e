"""Which trial runs next under Ray Tune, so that an actor that is starting is not given up for one that is free.

Tune has an actor start for every trial that waits, and gives an actor that ends a trial to the one that has waited
longest, whose own actor it then drops, however far its start has come. Where evaluating takes less time than starting
(seconds, for importing torch), an evaluator that was lost is never replaced, nor is a machine that joins ever used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

PATIENCE_S = 120.0


class StartingScheduler(FIFOScheduler):
    """Gives a free actor to the trial that came first, but leaves those to themselves whose own actors may be starting.

    Actors start in the order in which trials came, so as many of the first ones are left as there are actors missing. A
    trial whose own actor has not started within `PATIENCE_S` takes a free one: the cluster may have no place for more.

    Args:
        actors: How many there are when all have started.
        clock: Seconds.
    """

    def __init__(self, actors: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._actors, self._clock = actors, clock
        self._since: dict[str, float] = {}

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the waiting trial that is given a free actor, if there is one; None if none waits."""
        now, trials = self._clock(), tune_controller.get_trials()
        since = {t.trial_id: self._since.get(t.trial_id, now) for t in trials if t.status == Trial.PENDING}
        self._since = since
        waiting = sorted((t for t in trials if t.trial_id in since), key=lambda trial: since[trial.trial_id])
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        missing = max(0, self._actors - running - 1)  # one is free, or it does not matter which trial this returns
        for place, trial in enumerate(waiting):
            if place >= missing or now - since[trial.trial_id] > PATIENCE_S:
                return trial
        return waiting[-1] if waiting else None
