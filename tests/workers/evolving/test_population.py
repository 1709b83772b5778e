from __future__ import annotations

import numpy as np
import pytest

from nas_service.curve import Curve
from tests.workers.evolving.spaces import small_space
from workers.evolving.population import frequencies, step


def scored_by_size(plan) -> Curve:
    """Return the curve of a pair that is the better the more its big costs; the little is always half as good."""
    right = min(90, int(plan.big_macs / 2000))
    little = np.arange(100) < right // 2
    return Curve.from_outputs(np.linspace(0, 1, 100), little, np.arange(100) < right)


def test_a_population_is_drawn_then_parents_and_as_many_children_are_scored():
    space, rng = small_space(), np.random.default_rng(0)
    first, scored = step(space, [], size=6, score=scored_by_size, rng=rng)
    assert (len(first), scored) == (6, 6)
    second, again = step(space, first, size=6, score=scored_by_size, rng=rng)
    assert (len(second), again) == (6, 12)
    assert len({space.phenotype(p) for p in second}) == 6


def test_what_is_dominated_leaves_the_population():
    def worse_if_residual(plan) -> Curve:
        right = 10 if any(b.kind == "residual" for b in plan.big.blocks) else 80
        return Curve.from_outputs(np.linspace(0, 1, 100), np.arange(100) < right, np.arange(100) < right)

    space, rng, population = small_space(), np.random.default_rng(0), []
    for _ in range(12):
        population, _ = step(space, population, size=6, score=worse_if_residual, rng=rng)
    assert {p["big0_kind"] for p in population} == {"separable"}


def test_a_population_meets_the_constraints():
    space = small_space(params=6000)
    population, _ = step(space, [], size=8, score=scored_by_size, rng=np.random.default_rng(0))
    assert population
    assert all(space.plan(p).params() <= 6000 for p in population)


def test_a_space_without_a_legal_pair_has_an_empty_population():
    space = small_space(params=10)
    assert step(space, [], size=4, score=scored_by_size, rng=np.random.default_rng(0)) == ([], 0)


def test_no_choice_dies_out():
    space = small_space()
    population = [space.extreme("nested", largest=True)] * 3
    shares = frequencies(space, population, elite=0.5)
    assert shares["big0_width"] == pytest.approx((0.25, 0.75))
    assert frequencies(space, [], elite=0.5)["big0_width"] == (0.5, 0.5)
