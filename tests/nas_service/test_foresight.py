"""What halves are believed to cost: measured where possible, predicted where that is proven good enough."""

from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.foresight import Foresight
from nas_service.front_query import HalfCost
from tests.nas_service.measured import drawn_halves, made_up_ms

HALVES = drawn_halves(40)
COSTS = made_up_ms(HALVES)


def learnt(count, costs=COSTS, quantities=("latency_ms",)):
    foresight = Foresight(quantities=quantities)
    for index in range(count):
        foresight.learn(str(index), HALVES[index], HalfCost(latency_ms=costs[index]))
    return foresight


def test_a_measured_half_is_believed_as_measured():
    belief = learnt(1).foresee("0", HALVES[0])
    assert belief is not None
    assert belief.measured
    assert belief.cost == belief.least == HalfCost(latency_ms=COSTS[0])


def test_nothing_is_believed_of_other_halves_before_there_are_enough():
    assert learnt(19).foresee("new", HALVES[39]) is None


def test_a_half_that_was_not_measured_is_predicted_and_says_so():
    belief = learnt(39).foresee("new", HALVES[39])
    assert belief is not None
    assert not belief.measured
    assert abs(belief.cost.latency_ms / COSTS[39] - 1) < 0.2
    assert belief.least.latency_ms < belief.cost.latency_ms


def test_a_half_is_not_foreseen_if_a_quantity_that_is_needed_was_never_measured():
    assert learnt(39, quantities=("latency_ms", "energy_mj")).foresee("new", HALVES[39]) is None
    assert learnt(39).foresee("new", HALVES[39]).cost.energy_mj is None


SCRAMBLED = [((index * 7919) % 97 + 1) / 10 for index in range(40)]


@pytest.mark.parametrize(
    ("foresight", "reason"),
    [
        (learnt(19), "known of 19 halves, too few"),
        (learnt(39, costs=SCRAMBLED), "cannot be predicted well enough"),
        (learnt(39, quantities=("energy_mj",)), "too few"),
    ],
)
def test_nothing_is_searched_by_what_cannot_be_predicted(foresight, reason):
    with pytest.raises(InvalidRequestError, match=reason):
        foresight.predictor("latency_ms")


def test_a_poor_predictor_is_not_used():
    foresight = learnt(39, costs=SCRAMBLED)
    assert not foresight.qualities["latency_ms"].usable
    assert foresight.foresee("new", HALVES[39]) is None


def test_the_order_in_which_halves_were_measured_changes_no_prediction():
    backwards = Foresight(quantities=("latency_ms",))
    for index in reversed(range(30)):
        backwards.learn(str(index), HALVES[index], HalfCost(latency_ms=COSTS[index]))
    assert backwards.foresee("new", HALVES[39]) == learnt(30).foresee("new", HALVES[39])
