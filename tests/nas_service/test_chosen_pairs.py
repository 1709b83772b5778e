"""The pairs that a table of costs is measured on: far apart, the same for everybody who asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.chosen_pairs import chosen_pairs, table_pairs
from nas_service.errors import InvalidRequestError
from nas_service.half import halves_of
from nas_service.half_features import half_features
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO

SPACE = PairSpace(MICRO, channels=1, resolution=8, classes=10)
CHOSEN = chosen_pairs(SPACE, 24)


def keys(plans):
    return [tuple(plan.structures("msp").values()) for plan in plans]


def test_no_pair_is_chosen_twice():
    assert len(set(keys(CHOSEN))) == 24


def test_fewer_are_the_first_of_more():
    assert keys(chosen_pairs(PairSpace(MICRO, channels=1, resolution=8, classes=10), 9)) == keys(CHOSEN)[:9]


def test_every_coupling_is_among_them_with_its_smallest_and_largest_pair():
    assert {plan.coupling for plan in CHOSEN[:8]} == set(MICRO.couplings)
    largest = SPACE.plan(SPACE.extreme("independent", largest=True))
    assert largest.structures("msp") in [plan.structures("msp") for plan in CHOSEN[:8]]


def test_they_spread_wider_than_pairs_drawn_at_random():
    rng = np.random.default_rng(1)
    drawn = [SPACE.plan(SPACE.sample(rng)) for _ in CHOSEN]

    def spread(plans):
        return half_features([halves_of(plan)["big"] for plan in plans]).std(axis=0).sum()

    assert spread(CHOSEN) > spread(drawn)


def test_constraints_hold_for_what_is_chosen():
    tight = PairSpace(MICRO, channels=1, resolution=8, classes=10, constraints={"params": 6000})
    assert all(plan.costs()["params"] <= 6000 for plan in chosen_pairs(tight, 12))


def test_a_search_of_one_coupling_within_constraints_finds_what_a_table_of_the_space_holds():
    table = chosen_pairs(SPACE, 60)
    limited = replace(MICRO, couplings=("stem",))
    sought = set(keys(table_pairs(PairSpace(limited, channels=1, resolution=8, classes=10, constraints={"params": 1}))))
    held = set(keys(plan for plan in table if plan.coupling == "stem"))
    assert len(held) == 15
    assert held <= sought


def test_a_table_of_many_pairs_is_found_whole():
    assert set(keys(chosen_pairs(SPACE, 300))) <= set(keys(table_pairs(SPACE)))


def test_no_pairs_at_all_are_refused():
    with pytest.raises(InvalidRequestError, match="choose at least 1"):
        chosen_pairs(SPACE, 0)
