"""What a tuning trains next: halving with three ways to propose, and a population. All are functions of its history.

Asynchronous successive halving: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, as Ray
Tune's `ASHAScheduler` decides it (the `Stopper` that is handed in). Population based training: Jaderberg et al., 2017,
in its synchronous form: when all living members have reached a boundary, each of the worst quarter goes on from the
weights of a random member of the best quarter, with that one's hyperparameters perturbed. Departures: a perturbed value
stays in its range, and members that failed are gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nas_service.job_tune import Tune
from nas_service.tune.proposers import PROPOSERS
from nas_service.tuning import TunedTrial, Tuning

QUANTILE = 0.25
RESAMPLE = 0.25
FACTORS = (0.8, 1.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A stretch of one trial that is trained without a break.

    Attributes:
        trial: Its number.
        parameters: By name.
        begin: The epoch that it goes on from; 0 is a new supernet.
        until: The last epoch of the stretch.
        source: The trial and epoch whose checkpoint it goes on from, None for a new supernet.
        new: Whether the trial begins, or begins to be a copy of another, with this leg.
    """

    trial: int
    parameters: dict[str, Any]
    begin: int
    until: int
    source: tuple[int, int] | None
    new: bool = False


class Stopper(Protocol):
    """Decides whether a trial is worth its next epoch; told of all epochs in the order in which they ended."""

    def goes_on(self, trial: int, *, epoch: int, value: float) -> bool:
        """Return whether the trial goes on after this epoch."""


class Method(Protocol):
    """A way to spend trials and epochs."""

    def next_leg(self, tuning: Tuning, busy: Collection[int]) -> Leg | None:
        """Return what to train beside the trials that are `busy`; None if there is nothing, or nothing just now."""

    def ends(self, trial: TunedTrial) -> bool:
        """Return whether the trial is given up after its last epoch; asked once for every epoch, in order."""

    def keeps(self, tuning: Tuning, trial: int, epoch: int) -> bool:
        """Return whether the checkpoint of a trial's epoch may still be needed."""


class Halving:
    """Trials that train on until they are finished or not good enough.

    Args:
        tune: The method's settings.
        epochs: The most epochs of a trial.
        seed: Of the proposals.
        stopper: Decides who goes on.
    """

    def __init__(self, tune: Tune, *, epochs: int, seed: int, stopper: Stopper) -> None:
        self._tune, self._epochs, self._seed, self._stopper = tune, epochs, seed, stopper
        self._propose = PROPOSERS[tune.method]

    def next_leg(self, tuning: Tuning, busy: Collection[int]) -> Leg | None:
        """Return first what was begun and left, then a new trial."""
        for number, trial in tuning.trials.items():
            if trial.status == "running" and number not in busy:
                source = (number, trial.epoch) if trial.epoch else None
                return Leg(
                    trial=number, parameters=trial.parameters, begin=trial.epoch, until=self._epochs, source=source
                )
        number = len(tuning.trials) + 1
        if number > self._tune.trials:
            return None
        parameters = self._propose(self._tune.parameters, tuning, epochs=self._epochs, seed=self._seed)
        return Leg(trial=number, parameters=parameters, begin=0, until=self._epochs, source=None, new=True)

    def ends(self, trial: TunedTrial) -> bool:
        """Return whether the trial lags behind others at its rung."""
        assert trial.value is not None
        goes_on = self._stopper.goes_on(trial.number, epoch=trial.epoch, value=trial.value)
        return not goes_on and trial.epoch < self._epochs

    def keeps(self, tuning: Tuning, trial: int, epoch: int) -> bool:
        """A trial goes on from its last epoch; of those that are over, the best one's weights are kept."""
        found = tuning.trials[trial]
        wanted = found.status == "running" or (tuning.best is not None and tuning.best.number == trial)
        return wanted and epoch == found.epoch


class Population:
    """Members that train side by side and learn from each other every `interval` epochs.

    Args:
        tune: The method's settings.
        epochs: The epochs of every member.
        seed: Of first members, parents and perturbations.
    """

    def __init__(self, tune: Tune, *, epochs: int, seed: int) -> None:
        self._tune, self._epochs, self._seed = tune, epochs, seed
        self._interval = tune.interval or 1

    def next_leg(self, tuning: Tuning, busy: Collection[int]) -> Leg | None:
        """Return the stretch to the next boundary of what was left, of a new member, or of one that need not wait."""
        living = [trial for trial in tuning.trials.values() if trial.status != "failed"]
        idle = [trial for trial in living if trial.status == "running" and trial.number not in busy]
        for trial in idle:
            if trial.epoch % self._interval or not trial.epoch:  # begun and left
                return self._own(trial)
        number = len(tuning.trials) + 1
        if number <= self._tune.trials:
            parameters = PROPOSERS["pbt"](self._tune.parameters, tuning, epochs=self._epochs, seed=self._seed)
            return Leg(trial=number, parameters=parameters, begin=0, until=self._boundary(0), source=None, new=True)
        slowest = min((trial.epoch for trial in living), default=0)
        waiting = [trial for trial in idle if trial.epoch == slowest]  # everybody has reached their boundary
        return self._over_boundary(waiting[0], living) if waiting else None

    def ends(self, trial: TunedTrial) -> bool:
        """No member is given up: the worst go on from better weights."""
        return False

    def keeps(self, tuning: Tuning, trial: int, epoch: int) -> bool:
        """A member goes on from its last epoch, and copies from the boundary that not all have left yet."""
        living = [t for t in tuning.trials.values() if t.status != "failed"]
        slowest = min((t.epoch for t in living), default=0)
        return epoch == tuning.trials[trial].epoch or (epoch >= slowest and epoch % self._interval == 0)

    def _boundary(self, epoch: int) -> int:
        return min((epoch // self._interval + 1) * self._interval, self._epochs)

    def _own(self, trial: TunedTrial) -> Leg:
        """Return the leg from the member's own weights, or from its parent's if it has not begun to use them."""
        source = (trial.number, trial.epoch) if trial.epoch else None
        if trial.parent is not None and trial.parent[1] == trial.epoch:
            source = trial.parent
        return Leg(
            trial=trial.number,
            parameters=trial.parameters,
            begin=trial.epoch,
            until=self._boundary(trial.epoch),
            source=source,
        )

    def _over_boundary(self, trial: TunedTrial, living: list[TunedTrial]) -> Leg:
        epoch = trial.epoch
        if trial.parent is not None and trial.parent[1] == epoch:
            return self._own(trial)  # the copy was decided before a kill
        ranked = sorted(living, key=lambda t: (-(t.value_at(epoch) or 0.0), t.number))
        size = max(1, int(len(ranked) * QUANTILE)) if len(ranked) > 1 else 0
        if trial not in ranked[len(ranked) - size :]:
            return self._own(trial)
        rng = np.random.default_rng([self._seed, epoch, trial.number])
        parent = ranked[int(rng.integers(size))]  # which nothing has changed since, being of the best here
        return Leg(
            trial=trial.number,
            parameters=self._perturbed(parent.parameters, rng),
            begin=epoch,
            until=self._boundary(epoch),
            source=(parent.number, epoch),
            new=True,
        )

    def _perturbed(self, parameters: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return each value multiplied by a factor, moved to a neighbour, or now and then drawn anew; in its range."""
        perturbed = {}
        for name, tuned in self._tune.parameters.items():
            value = parameters[name]
            if rng.random() < RESAMPLE:
                perturbed[name] = tuned.at(float(rng.random()))
            elif tuned.choice is not None:
                place = tuned.choice.index(value) + int(rng.choice([-1, 1]))
                perturbed[name] = tuned.choice[min(max(place, 0), len(tuned.choice) - 1)]
            else:
                low, high = tuned.ends
                moved = min(max(value * FACTORS[int(rng.integers(2))], low), high)
                perturbed[name] = round(moved) if tuned.integer is not None else float(moved)
        return perturbed


def make_method(tune: Tune, *, epochs: int, seed: int, stopper: Stopper) -> Method:
    """Return the method that a job names; a population has no use for the stopper."""
    if tune.method == "pbt":
        return Population(tune, epochs=epochs, seed=seed)
    return Halving(tune, epochs=epochs, seed=seed, stopper=stopper)
