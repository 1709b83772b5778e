from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from nas_service.feasibility import _conflict, _way_out, analytic_costs, smallest
from nas_service.pair_space import CONSTRAINTS, PairSpace
from nas_service.plan import COUPLINGS
from nas_service.presets import MICRO, PRESETS

SHAPES = {"micro": (1, 8), "tiny": (3, 32), "small": (3, 32), "mobile": (3, 224)}


def space_of(name: str, couplings=COUPLINGS, **constraints: float) -> PairSpace:
    channels, resolution = SHAPES[name]
    definition = replace(PRESETS[name], couplings=couplings)
    return PairSpace(definition, channels=channels, resolution=resolution, classes=10, constraints=constraints)


def nearest(name: str, constraint: str) -> int:
    """Return the value that the refusal of an impossible bound calls the smallest."""
    with pytest.raises(InvalidRequestError, match=f"constraint {constraint} <= 10: no pair of space") as refusal:
        space_of(name, **{constraint: 10}).check_constraints()
    return int(str(refusal.value).split("the smallest has ")[1].split(" ")[0])


@pytest.mark.parametrize("name", PRESETS)
def test_a_constraint_that_no_pair_meets_is_refused_with_the_nearest_value_that_one_meets(name):
    least = nearest(name, "macs")
    space_of(name, macs=least).check_constraints()
    with pytest.raises(InvalidRequestError, match=f"the smallest has {least} "):
        space_of(name, macs=least - 1).check_constraints()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_no_random_pair_costs_less_than_the_value_that_is_called_the_smallest(constraint):
    space, rng = space_of("mobile", couplings=("independent", "stem", "nested")), np.random.default_rng(0)
    least = min(analytic_costs(space.plan(point))[constraint] for point in smallest(space))
    drawn = [analytic_costs(space.plan(space.sample(rng)))[constraint] for _ in range(40)]
    assert least < min(drawn)


def test_kinds_that_cost_more_in_every_way_are_not_looked_at():
    points = list(smallest(space_of("mobile")))
    assert [point["coupling"] for point in points] == list(COUPLINGS)
    assert not [value for point in points for value in point.values() if value == "inverted_se"]


def test_kinds_that_cost_less_in_one_way_and_more_in_another_are_all_looked_at():
    definition = replace(MICRO, couplings=("independent",))
    space = PairSpace(definition, channels=1, resolution=8, classes=10)
    costs = [analytic_costs(space.plan(point)) for point in smallest(space)]
    every = [
        analytic_costs(space.plan({**space.extreme("independent", largest=False), "big0_kind": a, "big1_kind": b}))
        for a in space.choices["big0_kind"]
        for b in space.choices["big1_kind"]
    ]
    assert {name: min(c[name] for c in costs) for name in costs[0]} == {
        name: min(c[name] for c in every) for name in every[0]
    }


def test_constraints_that_pairs_meet_one_by_one_but_not_together_are_refused_together():
    """The least of a triangular tiny pair's parameters needs a wider little than the least of its MACs."""
    bounds = {name: nearest("tiny", name) for name in ("macs", "params")}
    for name, bound in bounds.items():
        space_of("tiny", **{name: bound}).check_constraints()
    with pytest.raises(InvalidRequestError) as refusal:
        space_of("tiny", **bounds, worst_macs=10**12).check_constraints()
    asked = re.fullmatch(
        rf"no pair of space 'tiny' meets macs <= {bounds['macs']:g}, params <= {bounds['params']:g} together; "
        r"raise macs to (\d+) or params to (\d+), and leave the others",
        str(refusal.value),
    )
    assert asked is not None, refusal.value
    for name, value in zip(bounds, map(int, asked.groups()), strict=True):
        assert value > bounds[name]
        space_of("tiny", **{**bounds, name: value}).check_constraints()


def test_where_no_single_bound_is_the_trouble_all_that_must_be_raised_are_named():
    costs = [{"macs": 1.0, "params": 9.0, "worst_macs": 9.0}, {"macs": 9.0, "params": 1.0, "worst_macs": 1.0},
             {"macs": 3.0, "params": 3.0, "worst_macs": 2.0}]  # fmt: skip
    bounds = {"macs": 2.0, "params": 2.0, "worst_macs": 1.0}
    assert _conflict(bounds, costs) == {"macs": 2.0, "worst_macs": 1.0}
    assert _way_out(bounds, costs) == "raise macs to 9, and leave the others"
    assert _way_out(bounds, [costs[0], costs[2]]) == "raise macs to 3 and params to 3 and worst_macs to 2"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ["small", "mobile"])
def test_a_refusal_takes_less_than_two_seconds(name):
    space = space_of(name, worst_macs=10, params=5)
    started = time.perf_counter()
    with pytest.raises(InvalidRequestError, match="constraint worst_macs <= 10"):
        space.check_constraints()
    assert time.perf_counter() - started < 2
