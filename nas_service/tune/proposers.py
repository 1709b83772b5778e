"""How the hyperparameters of the next trial are chosen; every proposer is a function of the ranges and the history.

`random` draws trial n from the seed and n. `tpe` is Optuna's tree-structured Parzen estimator (Bergstra et al., 2011):
the study is built from the history for each proposal, with trials under way as running ones, which the constant liar
keeps others away from, and stopped ones as pruned with their curves, which TPE ranks by how far they came. `evolution`
is nevergrad's two-point differential evolution, replayed likewise. Ray Tune's own wrappers tell a stopped trial's last
value as if it were a finished one's, and keep their state in pickles, so they are not used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_service.job_tune import Range
from nas_service.tuning import TunedTrial, Tuning

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 5
POPULATION = 8

Ranges = Mapping[str, Range]


def propose_random(ranges: Ranges, tuning: Tuning, *, epochs: int, seed: int) -> dict[str, Any]:
    """Return a random draw for the next trial."""
    rng = np.random.default_rng([seed, len(tuning.trials)])
    return {name: tuned.at(float(rng.random())) for name, tuned in ranges.items()}


def propose_tpe(ranges: Ranges, tuning: Tuning, *, epochs: int, seed: int) -> dict[str, Any]:
    """Return TPE's proposal for the next trial; random for the first ones."""
    import optuna

    if len(tuning.trials) < STARTUP_TRIALS:
        return propose_random(ranges, tuning, epochs=epochs, seed=seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=int(np.random.default_rng([seed, len(tuning.trials)]).integers(2**32)),
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: _distribution(tuned) for name, tuned in ranges.items()}
    for trial in tuning.trials.values():
        study.add_trial(_frozen(trial, ranges, distributions))
    asked = study.ask(distributions)
    return {name: _value(ranges[name], asked.params[name]) for name in ranges}


def propose_evolution(ranges: Ranges, tuning: Tuning, *, epochs: int, seed: int) -> dict[str, Any]:
    """Return nevergrad's proposal: the optimiser asks again for all trials before, and is told what came of them.

    A trial that was stopped counts as worse than any that came further.
    """
    import nevergrad as ng

    variables = {
        name: ng.p.Choice(list(range(len(tuned.choice)))) if tuned.choice else ng.p.Scalar(lower=0.0, upper=1.0)
        for name, tuned in ranges.items()
    }
    space = ng.p.Dict(**variables)
    space.random_state = np.random.RandomState(int(np.random.default_rng([seed, len(tuning.trials)]).integers(2**32)))
    optimiser = ng.optimizers.DifferentialEvolution(crossover="twopoints", popsize=POPULATION)(space)
    for trial in tuning.trials.values():
        if trial.status != "running":
            shares = {name: _gene(tuned, trial.parameters[name]) for name, tuned in ranges.items()}
            optimiser.tell(space.spawn_child(new_value=shares), _loss(trial, epochs=epochs))
    if len(tuning.trials) < POPULATION:
        return propose_random(ranges, tuning, epochs=epochs, seed=seed)
    asked = optimiser.ask().value
    return {
        name: tuned.choice[int(asked[name])] if tuned.choice else tuned.at(float(asked[name]))
        for name, tuned in ranges.items()
    }


Proposer = Callable[..., dict[str, Any]]
PROPOSERS: dict[str, Proposer] = {
    "asha": propose_random,
    "pbt": propose_random,
    "optuna": propose_tpe,
    "nevergrad": propose_evolution,
}


def _distribution(tuned: Range) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if tuned.choice is not None:
        return CategoricalDistribution(range(len(tuned.choice)))
    if tuned.integer is not None:
        return IntDistribution(*tuned.integer)
    low, high = tuned.ends
    return FloatDistribution(low, high, log=tuned.log is not None)


def _value(tuned: Range, asked: Any) -> Any:
    return tuned.choice[asked] if tuned.choice is not None else asked


def _frozen(
    trial: TunedTrial, ranges: Ranges, distributions: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    """Return a trial as Optuna knows it."""
    from optuna.trial import TrialState, create_trial

    states = {"running": TrialState.RUNNING, "finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED,
              "failed": TrialState.FAIL}  # fmt: skip
    return create_trial(
        state=states[trial.status],
        value=trial.value if trial.status == "finished" else None,
        params={name: _parameter(tuned, trial.parameters[name]) for name, tuned in ranges.items()},
        distributions=distributions,
        intermediate_values={rung.epoch: rung.value for rung in trial.rungs},
    )


def _parameter(tuned: Range, value: Any) -> Any:
    return tuned.choice.index(value) if tuned.choice is not None else value


def _gene(tuned: Range, value: Any) -> Any:
    """Return a value as nevergrad's variable has it, within its bounds."""
    if tuned.choice is not None:
        return tuned.choice.index(value)
    return min(max(tuned.share_of(value), 0.0), 1.0)


def _loss(trial: TunedTrial, *, epochs: int) -> float:
    """Return what is minimised: the epochs that were left, then the value; a failure is the worst of all."""
    if trial.status == "failed" or trial.value is None:
        return float(epochs + 1)
    return epochs - trial.epoch - trial.value
