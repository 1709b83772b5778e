"""The searchers that ours are compared with, each as its own project means it to be used, one candidate at a time.

A peer is a generator: it yields points as indexes, one per gene, and is sent the two or more figures of each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import numpy as np

from nas_service.choice_space import ChoiceSpace
from nas_service.front import Floats, non_dominated
from nas_service.ranking import best_candidates

Search: TypeAlias = Generator[list[int], Floats, None]
Peer: TypeAlias = Callable[[ChoiceSpace, int, int], Search]
"""(space, objectives, seed) -> its search, endless."""

POPULATION = 20
INNER_EVALUATIONS = 4000  # of LINAS's predictors in each loop
INNER_POPULATION = 50


def optuna_tpe(space: ChoiceSpace, objectives: int, seed: int) -> Search:
    """Optuna's tree-structured Parzen estimator, as it comes."""
    import optuna

    yield from _optuna(space, objectives, optuna.samplers.TPESampler(seed=seed))


def optuna_nsga2(space: ChoiceSpace, objectives: int, seed: int) -> Search:
    """Optuna's NSGA-II, with a population that fits a hundred evaluations."""
    import optuna

    yield from _optuna(space, objectives, optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION))


def nevergrad_de(space: ChoiceSpace, objectives: int, seed: int) -> Search:
    """Nevergrad's differential evolution over its own choices, told all losses."""
    import nevergrad as ng

    genes: dict[str, Any] = {}
    for name, values in space.choices.items():
        kind = ng.p.TransitionChoice if space.is_ordinal(name) else ng.p.Choice
        genes[name] = kind(list(range(len(values))))
    parametrization = ng.p.Dict(**genes)
    parametrization.random_state = np.random.RandomState(seed)
    optimiser = ng.optimizers.DifferentialEvolution(popsize=POPULATION)(parametrization)
    while True:
        candidate = optimiser.ask()
        figures = yield [int(candidate.value[name]) for name in space.names]
        optimiser.tell(candidate, [float(f) for f in figures])


def pymoo_nsga2(space: ChoiceSpace, objectives: int, seed: int) -> Search:
    """Pymoo's NSGA-II over whole numbers, without duplicates."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.core.termination import NoTermination
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    top = np.array([len(values) - 1 for values in space.choices.values()])
    problem = Problem(n_var=len(top), n_obj=objectives, xl=np.zeros(len(top)), xu=top, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=NoTermination(), seed=seed, verbose=False)
    while True:
        population = algorithm.ask()
        if population is None or not len(population):  # every child was there before
            yield [int(i) for i in np.random.default_rng(seed + algorithm.n_iter).integers(top + 1)]
            algorithm.n_iter += 1
            continue
        figures = []
        for x in population.get("X"):
            figures.append((yield [int(i) for i in x]))
        population.set("F", np.array(figures))
        algorithm.tell(infills=population)


def plain_linas(space: ChoiceSpace, objectives: int, seed: int) -> Search:
    """LINAS (Cummings et al.): ridge or support vectors, cross-validated; NSGA-II on them; the predicted best next."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_predict
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    rng = np.random.default_rng(seed)
    counts = np.array([len(values) for values in space.choices.values()])
    seen: dict[tuple[int, ...], Floats] = {}
    batch = [tuple(int(i) for i in row) for row in rng.integers(counts, size=(POPULATION, len(counts)))]
    while True:
        for x in batch:
            seen[x] = yield list(x)
        rows, figures = _one_hot(np.array(list(seen)), counts), np.array(list(seen.values()))
        predictors = []
        for column in figures.T:
            y = StandardScaler().fit_transform(column[:, None]).ravel()
            models = (Ridge(alpha=1.0), SVR(C=10.0, epsilon=0.01))
            errors = [np.abs(cross_val_predict(model, rows, y, cv=5) - y).mean() for model in models]
            predictors.append(models[int(np.argmin(errors))].fit(rows, y))

        def predicted(xs: np.ndarray[Any, Any], models: list[Any] = predictors) -> Floats:
            return np.stack([model.predict(_one_hot(xs, counts)) for model in models], axis=1)

        found = _inner_search(predicted, np.array(list(seen)), counts, rng)
        fresh = [tuple(int(i) for i in x) for x in found if tuple(int(i) for i in x) not in seen]
        batch = fresh[: POPULATION // 2]
        while len(batch) < POPULATION // 2:
            batch.append(tuple(int(i) for i in rng.integers(counts)))


PEERS: dict[str, Peer] = {
    "Optuna TPE": optuna_tpe,
    "Optuna NSGA-II": optuna_nsga2,
    "nevergrad DE": nevergrad_de,
    "pymoo NSGA-II": pymoo_nsga2,
    "LINAS (ridge or SVR)": plain_linas,
}


def _optuna(space: ChoiceSpace, objectives: int, sampler: Any) -> Search:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
    while True:
        trial = study.ask()
        point = []
        for name, values in space.choices.items():
            if space.is_ordinal(name):
                point.append(trial.suggest_int(name, 0, len(values) - 1))
            else:
                point.append(trial.suggest_categorical(name, list(range(len(values)))))
        figures = yield point
        study.tell(trial, [float(f) for f in figures])


def _one_hot(xs: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> Floats:
    return np.hstack([np.eye(count)[xs[:, gene]] for gene, count in enumerate(counts)])


def _inner_search(
    predicted: Callable[[np.ndarray[Any, Any]], Floats],
    start: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
    rng: np.random.Generator,
) -> np.ndarray[Any, Any]:
    """The population, best first, that NSGA-II ends with on the predictors."""
    population = np.unique(start, axis=0)
    for _ in range(INNER_EVALUATIONS // INNER_POPULATION):
        size = (INNER_POPULATION, len(counts))
        first, second = (population[rng.integers(len(population), size=INNER_POPULATION)] for _ in range(2))
        children = np.where(rng.random(size) < 0.5, first, second)
        children = np.where(rng.random(size) < 1 / len(counts), rng.integers(counts, size=size), children)
        population = np.unique(np.vstack([population, children]), axis=0)
        figures = predicted(population)
        ranked = best_candidates(figures, np.arange(len(figures)), limit=INNER_POPULATION)
        population = population[[candidate for _, _, candidate in ranked]]
    mask = non_dominated(predicted(population))
    return np.vstack([rng.permutation(population[mask]), population[~mask]])
