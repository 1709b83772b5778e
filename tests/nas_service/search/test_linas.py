"""What surrogates are for: where they look, and what they keep away from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.search import make_searcher
from nas_service.search.auto import AutoProposer
from nas_service.search.belief import Belief, fitted_kernels, milestone
from nas_service.search.ledger import Ledger
from nas_service.search.outcome import read_outcome
from nas_service.search.surrogate import Features

SPACE = ChoiceSpace({f"b{i}": [0, 1, 2, 3] for i in range(5)} | {"idle": ["x", "y", "z"]})


def measure(x):
    """All points differ; `idle` hardly matters."""
    size = np.array([x[f"b{i}"] for i in range(5)]) @ [5.03, 4.07, 3.11, 2.17, 1.29] + 0.01 * "xyz".index(x["idle"])
    return {"error": float(100 * np.exp(-size / 10)), "cost": float(size)}


def searched(evaluate, *, evaluations=60, objectives=("error", "cost"), name="linas"):
    searcher = make_searcher(name, SPACE, objectives=objectives, seed=0, budget=evaluations)
    asked = []
    for _ in range(evaluations // 6):
        batch = searcher.ask(6)
        asked += batch
        searcher.tell([(x, evaluate(x)) for x in batch])
    return asked


@pytest.mark.slow
def test_it_keeps_away_from_where_candidates_fail():
    asked = searched(lambda x: None if x["b0"] == 3 else measure(x))
    assert sum(x["b0"] == 3 for x in asked[30:]) <= 3


def believed(evaluate, points):
    """The belief after 40 random results, and its chance that each of the points gives something new."""
    rng, ledger, features = np.random.default_rng(0), Ledger(SPACE, objectives=("error", "cost")), Features(SPACE)
    for x in (SPACE.sample(rng) for _ in range(40)):
        if SPACE.phenotype(x) not in ledger:
            told = read_outcome(evaluate(x), objectives=ledger.objectives)
            ledger.record_tell(x, told)
    kernels = fitted_kernels(ledger, features, count=ledger.told_count)
    return Belief(ledger, features, kernels).chance(features.rows(np.array([SPACE.encode(x) for x in points])))


@pytest.mark.parametrize("outcome", [None, {"error": 60.0, "cost": 1.0}], ids=["failed", "the same"])
def test_little_is_expected_where_candidates_failed_or_were_the_same_under_other_names(outcome):
    rng = np.random.default_rng(1)
    points = [SPACE.sample(rng) for _ in range(60)]
    chance = believed(lambda x: measure(x) if x["b0"] else outcome, points)
    idle = np.array([x["b0"] == 0 for x in points])
    assert chance[idle].mean() < 0.3 < 0.8 < chance[~idle].mean()


def test_where_all_results_differ_all_are_equally_likely_to_be_new():
    rng = np.random.default_rng(2)
    noisy = believed(lambda x: measure(x) | {"error": float(rng.random())}, [SPACE.decode([0] * 6)])
    assert noisy.tolist() == [1.0]


def test_it_finds_the_single_best_of_thousands():
    asked = searched(
        lambda x: {"error": float(sum((x[f"b{i}"] - i % 4) ** 2 for i in range(5)))}, objectives=("error",)
    )
    assert min(sum((x[f"b{i}"] - i % 4) ** 2 for i in range(5)) for x in asked) == 0


@pytest.mark.slow
def test_it_leaves_no_large_gap_in_a_front_of_equal_steps():
    costs = sorted({measure(x)["cost"] for x in searched(measure)})
    assert max(b - a for a, b in itertools.pairwise(costs)) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_unit_of_an_objective_changes_nothing(scale):
    def scaled(x):
        return {"error": measure(x)["error"], "cost": measure(x)["cost"] * scale}

    ours, theirs = (sorted(measure(x)["cost"] for x in searched(e)) for e in (measure, scaled))
    assert np.abs(np.array(ours) - theirs).mean() < 3


@pytest.mark.parametrize(("count", "first", "reached"), [(10, 10, 10), (12, 10, 10), (13, 10, 13), (100, 10, 87)])
def test_kernels_are_fitted_anew_when_there_is_a_quarter_more_to_learn_from(count, first, reached):
    assert milestone(count, first=first) == reached


@pytest.mark.slow
@pytest.mark.parametrize("learnable", [True, False])
def test_auto_asks_nsga2_where_nothing_can_be_learnt_and_only_there(monkeypatch, learnable):
    monkeypatch.setattr("nas_service.search.auto.SHARES", (0.0, 1.0))
    used = []
    monkeypatch.setattr(AutoProposer, "__init__", _noting(AutoProposer.__init__, used))
    noise = np.random.default_rng(0)

    def told(x):
        return measure(x) if learnable else {**measure(x), "error": float(noise.random())}

    searched(told, name="auto", evaluations=36)
    assert bool(used) is not learnable


def _noting(original, used):
    def init(self, setting):
        original(self, setting)
        propose = self._nsga2.propose
        self._nsga2.propose = lambda ledger, rng: used.append(1) or propose(ledger, rng)

    return init
