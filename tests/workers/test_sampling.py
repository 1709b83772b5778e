from __future__ import annotations

from collections import Counter

import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.feasibility import analytic_costs
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.sampling import FixedPair, Sandwich


def steps(sampler, count):
    generator = torch.Generator().manual_seed(0)
    return [sampler(step, generator) for step in range(count)]


def test_a_step_is_the_largest_the_smallest_and_random_pairs(micro):
    for largest, smallest, *random in steps(Sandwich(micro, random_pairs=2), 6):
        assert largest == micro.plan(micro.extreme(largest.coupling, largest=True))
        assert largest.big_macs >= max((p.big_macs for p in random if p.coupling == largest.coupling), default=0)
        assert smallest.little_macs <= min(plan.little_macs for plan in random)
        assert len(random) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_coupling_gets_its_share_of_every_place(micro, place):
    counts = Counter(plans[place].coupling for plans in steps(Sandwich(micro), 40))
    assert counts == {"independent": 10, "stem": 10, "nested": 10, "triangular": 10}


def test_random_pairs_differ_and_follow_from_the_generator_alone(micro):
    one, two = steps(Sandwich(micro), 40), steps(Sandwich(micro), 40)
    assert one == two
    assert len({plans[2] for plans in one}) > 30


def test_random_pairs_meet_the_constraints():
    space = PairSpace(MICRO, channels=1, resolution=8, classes=10, constraints={"params": 12_000})
    drawn = [plans[2] for plans in steps(Sandwich(space), 20)]
    assert all(analytic_costs(plan)["params"] <= 12_000 for plan in drawn)


def test_negative_number_of_random_pairs_is_refused(micro):
    with pytest.raises(InvalidRequestError, match="random_pairs is -1 but must be at least 0"):
        Sandwich(micro, random_pairs=-1)


def test_fine_tuning_visits_one_pair(micro):
    plan = micro.plan(micro.extreme("stem", largest=False))
    assert steps(FixedPair(plan), 3) == [[plan]] * 3
