from __future__ import annotations

import numpy as np
import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.search.ledger import Ledger
from nas_service.search.outcome import read_outcome
from nas_service.search.pool import Pool

SMALL = {"a": [1, 2, 3], "b": ["x", "y"], "c": [0, 1, 2, 3]}
VAST = {f"g{i}": list(range(6)) for i in range(12)}


def ledger_of(space, points):
    """A ledger in which these were asked for before the first of them was told."""
    ledger = Ledger(space, objectives=("error",))
    for point in points:
        ledger.record_ask(point, draws=1)
    for point in points[:1]:
        ledger.record_tell(point, read_outcome({"error": 1.0}, objectives=("error",)))
    return ledger


@pytest.mark.parametrize(
    ("functions", "left"),
    [
        ({}, 22),
        ({"feasible": lambda x: x["c"] > 0}, 17),
        ({"canonical": lambda x: x | {"c": 0} if x["b"] == "y" else x}, 13),
    ],
    ids=["plain", "constrained", "folded"],
)
def test_a_small_space_is_listed_without_what_was_asked(functions, left):
    space = ChoiceSpace(SMALL, **functions)
    asked = [{"a": 1, "b": "x", "c": 1}, {"a": 2, "b": "y", "c": 0}]
    rows = Pool(space).listed(ledger_of(space, asked))
    keys = {space.phenotype(space.decode(row)) for row in rows.tolist()}
    assert len(rows) == len(keys) == left
    assert not keys & {space.phenotype(x) for x in asked}


def test_what_was_asked_since_the_last_result_changes_no_plan():
    space, asked = ChoiceSpace(SMALL), [{"a": 1, "b": "x", "c": 1}, {"a": 2, "b": "y", "c": 0}]
    ledger = ledger_of(space, asked[:1])
    before = Pool(space).listed(ledger)
    ledger.record_ask(asked[1], draws=1)
    assert np.array_equal(Pool(space).listed(ledger), before)


def test_a_vast_space_is_searched_for_what_scores_high():
    space, rng = ChoiceSpace(VAST), np.random.default_rng(0)
    parents = rng.integers(6, size=(5, 12))
    found = Pool(space).evolved(parents, ledger_of(space, []), lambda rows: rows.sum(axis=1).astype(float), rng)
    assert found.sum(axis=1).max() >= 54
    assert len(np.unique(found, axis=0)) == len(found)


def test_what_evolves_is_folded_feasible_and_new():
    space = ChoiceSpace(VAST, canonical=lambda x: x | {"g1": 0} if x["g0"] < 3 else x, feasible=lambda x: x["g2"] != 5)
    asked = [space.decode([0] * 12), space.decode([3] * 12)]
    rng = np.random.default_rng(0)
    rows = Pool(space).evolved(
        np.zeros((1, 12), dtype=int), ledger_of(space, asked), lambda r: -r.sum(axis=1) * 1.0, rng
    )
    points = [space.decode(row) for row in rows.tolist()]
    assert points
    assert all(space.fold(x) == x and space.is_feasible(x) and x not in asked for x in points)


def test_a_constraint_that_leaves_nothing_leaves_no_candidate():
    space = ChoiceSpace(VAST, feasible=lambda x: False)
    found = Pool(space).evolved(
        np.zeros((1, 12), dtype=int), ledger_of(space, []), lambda rows: np.zeros(len(rows)), np.random.default_rng(0)
    )
    assert len(found) == 0
