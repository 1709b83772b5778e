"""What a method is for: more front for the same number of evaluations than chance finds."""

from __future__ import annotations

import numpy as np
import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.front import hypervolume
from nas_service.search import SEARCHERS, make_searcher

SPACE = ChoiceSpace({f"b{i}": [0, 1, 2, 3] for i in range(10)} | {"op": ["a", "b", "c"]})
WEIGHTS = np.random.default_rng(5).gamma(1.0, size=(2, 10))
OPS = {"a": (0.0, 0.0), "b": (0.8, 0.5), "c": (1.6, 2.0)}


def measure(x):
    """Error falls with every block and cost rises, unequally; blocks beside each other interact."""
    size = np.array([x[f"b{i}"] for i in range(10)]) / 3
    gain, price = OPS[x["op"]]
    error = 10 * float(WEIGHTS[0] @ (1 - size) ** 1.5) / WEIGHTS[0].sum() + float(size[:-1] @ (1 - size[1:])) - gain
    return {"error": error, "cost": 10 * float(WEIGHTS[1] @ size**1.3) / WEIGHTS[1].sum() + price}


def found(name, seed, evaluations):
    searcher = make_searcher(name, SPACE, objectives=("error", "cost"), seed=seed, budget=evaluations)
    points = []
    for _ in range(evaluations // 6):
        batch = searcher.ask(6)
        values = [measure(x) for x in batch]
        searcher.tell(list(zip(batch, values, strict=True)))
        points += [[v["error"], v["cost"]] for v in values]
    return hypervolume(points, [12.0, 12.0])


@pytest.mark.parametrize("name", sorted(set(SEARCHERS) - {"random"}))
def test_a_method_finds_more_than_chance_does(name):
    volumes, chance = ([found(n, seed, 90) for seed in range(3)] for n in (name, "random"))
    assert np.median(volumes) > np.median(chance)
