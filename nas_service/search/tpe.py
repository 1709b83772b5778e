"""Optuna's multi-objective TPE, made a function of the ledger.

Ozaki et al., "Multiobjective Tree-Structured Parzen Estimator", JAIR 73, 2022, as Optuna implements it, in its
multivariate form. The study lives in memory and follows the ledger: a candidate in flight is a running trial,
which the constant liar keeps others away from. Every proposal comes from a fresh sampler, seeded from the seed
and the number of the ask, so nothing that Optuna keeps to itself needs saving.

A curve is told as its most useful point (see `fitness.representative`). A failed candidate is a failed trial.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.fitness import representative
from nas_service.search.ledger import Entry, Ledger

if TYPE_CHECKING:
    import optuna

SCRATCH = 0  # the number of the trial that proposals are drawn for


class TpeProposer(StatelessProposer):
    """Keeps an Optuna study in step with the ledger and asks a fresh TPE sampler."""

    draws = 4

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space
        self._startup = max(5, min(20, round(setting.budget / 8)))
        self._study = _study(directions=len(setting.objectives))
        self._distributions = _distributions(setting.space)
        self._numbers: dict[str, int] = {}
        self._entered = SCRATCH

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A draw from the densities of good and other candidates; uniform for the first ones."""
        if ledger.told_count < self._startup or not self._distributions:
            return self._space.sample(rng)
        sampler = _sampler(seed=int(rng.integers(2**32)))
        scratch = self._study.get_trials(deepcopy=False)[SCRATCH]
        drawn = sampler.sample_relative(self._study, scratch, self._distributions)
        return self._space.decode([int(drawn.get(name, 0)) for name in self._space.names])

    def asked(self, entry: Entry, ledger: Ledger) -> None:
        """Enter a running trial."""
        import optuna

        indexes = dict(zip(self._space.names, self._space.encode(entry.x), strict=True))
        params = {name: indexes[name] for name in self._distributions}
        running = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=params, distributions=self._distributions
        )
        self._study.add_trial(running)
        self._entered += 1
        self._numbers[entry.key] = self._entered

    def told(self, entry: Entry, ledger: Ledger) -> None:
        """Finish the trial; a candidate that was never asked for enters first."""
        import optuna

        if entry.key not in self._numbers:
            self.asked(entry, ledger)
        number = self._numbers.pop(entry.key)
        if entry.outcome is None or entry.outcome.failed:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)
            return
        others = ledger.points[ledger.owners != ledger.told_count - 1]
        values = representative(np.array(entry.outcome.points), others)
        self._study.tell(number, [float(v) for v in values])


def _study(*, directions: int) -> optuna.Study:
    """An empty study in memory, with the one running trial that all proposals are drawn for."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(directions=["minimize"] * directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.ask()
    return study


def _sampler(*, seed: int) -> optuna.samplers.TPESampler:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)


def _distributions(space: ChoiceSpace) -> dict[str, optuna.distributions.BaseDistribution]:
    """A distribution over the indexes of every gene that can vary: whole numbers if ordinal, else categories."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return {
        name: IntDistribution(0, len(values) - 1)
        if space.is_ordinal(name)
        else CategoricalDistribution(range(len(values)))
        for name, values in space.choices.items()
        if len(values) > 1
    }
