from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs, params
from nas_service.search import make_searcher
from workers.baselines.half_search import HalfSpace, half_error, independent_space, narrowed, search_half
from workers.bench.registry import make_system
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.supernet import Supernet


@pytest.fixture
def independent(micro):
    return independent_space(micro)


@pytest.mark.parametrize("half", ["little", "big"])
def test_a_search_finds_the_best_half_within_the_limit(half, independent, pair):
    limit = getattr(pair, half)
    space = HalfSpace(independent, half, limit=limit)
    asked = []

    def score(plan):
        asked.append(plan)
        return 100 - macs(plan.layers()) / 1e4

    found = search_half(space, score, evaluations=12, seed=0, make_searcher=make_searcher, searcher="random")
    assert all(macs(p.layers()) <= macs(limit.layers()) for p in asked)
    assert all(params(p.layers()) <= params(limit.layers()) for p in asked)
    assert macs(found.layers()) == max(macs(p.layers()) for p in asked)


def test_of_equally_good_halves_the_cheapest_is_taken(independent, pair):
    asked = []
    found = search_half(
        HalfSpace(independent, "big", limit=pair.big),
        lambda p: asked.append(p) or 50.0,
        evaluations=8,
        seed=0,
        make_searcher=make_searcher,
        searcher="random",
    )
    assert macs(found.layers()) == min(macs(p.layers()) for p in asked)


def test_a_limit_below_every_half_is_refused(independent, pair):
    space = HalfSpace(independent, "big", limit=pair.little)
    with pytest.raises(InvalidRequestError, match="no network of the space is within the MACs and parameters of the"):
        search_half(space, lambda plan: 0.0, evaluations=3, seed=0, make_searcher=make_searcher, searcher="random")


def test_the_supernet_of_a_search_holds_every_half_within_the_limits_and_little_more(independent, pair):
    space = narrowed(independent, {"little": pair.little, "big": pair.big})
    whole, narrow = (s.plan(s.extreme("independent", largest=True)) for s in (independent, space))
    assert narrow.big_macs < 0.5 * whole.big_macs
    for half in ("little", "big"):
        limited = HalfSpace(independent, half, limit=getattr(pair, half))
        rng = np.random.default_rng(0)
        for _ in range(200):
            point = {name: values[rng.integers(len(values))] for name, values in limited.choices.items()}
            if limited.is_feasible(point):
                assert all(point[n] in space.choices[n] for n in point if n in space.choices)


@pytest.mark.parametrize("half", ["little", "big"])
def test_a_half_is_scored_alone_with_the_supernets_weights(half, independent, small):
    dataset, splits = small
    context = EvaluationContext(EvaluationData.of(dataset, splits, recalibration=100, limit=100))
    supernet, plan = Supernet(independent), independent.plan(independent.extreme("independent", largest=False))
    supernet.alphas["independent"].data.zero_()
    outputs = evaluate(supernet, plan, context).outputs
    right = outputs.little_correct if half == "little" else outputs.big_correct
    assert half_error(supernet, getattr(plan, half), half, context) == pytest.approx(100 * (1 - right.mean()))


@pytest.mark.slow
def test_the_searched_cascade_trains_the_halves_that_it_found(setting_of, pair):
    system = replace(make_system(setting_of("cascade-nas")), evaluations=3)
    supernet, big, little = system.phases()
    modules = {"supernet": supernet.learner({}).module}
    learners = {"big": big.learner(modules)}
    learners["little"] = little.learner({**modules, "big": learners["big"].module})
    again = replace(make_system(setting_of("cascade-nas")), evaluations=3).chosen(modules)
    for half, learner in learners.items():
        assert learner.module.plan == system.halves()[half] == again[half]
        assert macs(learner.module.plan.layers()) <= macs(getattr(pair, half).layers())
    little_macs, big_macs = (macs(system.halves()[half].layers()) for half in ("little", "big"))
    assert system.costs().macs == (little_macs, little_macs + big_macs)


def test_a_search_is_counted_apart_from_training(setting_of):
    budget = make_system(setting_of("cascade-nas", epochs=60)).budget()
    assert [phase.name for phase in budget.search_phases] == ["supernet", "scoring"]
    assert [phase.trained for phase in budget.search_phases] == [True, False]
    assert budget.search_tera_macs > 0
