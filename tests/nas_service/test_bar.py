"""When an evaluation ends early: never by bad luck of the few images that were looked at."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nas_service.bar import Bar, lucky
from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.front_query import HalfCost

COSTS = {"little_macs": 1e6, "tail_macs": 2e6}
FRONT = tuple((40.0 - 30.0 * share, 1e6 + 2e6 * share) for share in np.linspace(0.0, 1.0, 41).tolist())


def curve(n=400, *, little=0.6, big=0.9, seed=0):
    rng = np.random.default_rng(seed)
    return Curve.from_outputs(rng.random(n), rng.random(n) < little, rng.random(n) < big)


def bar(**changes):
    return Bar(**{"parts": (0.2,), "doubt": 2.0, "objectives": ("error", "macs"), "costs": COSTS, "front": FRONT,
                  **changes})  # fmt: skip


def test_a_curve_far_below_the_front_is_out_of_reach_and_one_beside_it_is_not():
    assert bar().out_of_reach(curve(little=0.3, big=0.5))
    assert not bar().out_of_reach(curve())


def test_without_a_front_nothing_is_out_of_reach():
    assert not bar(front=()).out_of_reach(curve(little=0.1, big=0.1))


def test_the_fewer_the_images_the_more_luck_is_allowed():
    poor = {"little": 0.52, "big": 0.83}
    assert not bar().out_of_reach(curve(40, **poor))
    assert bar().out_of_reach(curve(40_000, **poor))


def test_more_doubt_lets_more_go_on():
    poor = curve(400, little=0.5, big=0.8)
    decided = [bar(doubt=doubt).out_of_reach(poor) for doubt in (0.1, 2.0, 8.0)]
    assert decided == sorted(decided, reverse=True)
    assert decided[0] is not decided[-1]


def test_while_a_cost_is_not_known_nothing_is_out_of_reach():
    slow = {"objectives": ("error", "latency_ms@pi"), "front": ((1.0, 0.1),)}
    half = HalfCost(latency_ms=9.0)
    assert not bar(**slow).out_of_reach(curve())
    assert not bar(**slow, boards={"pi": {"little": half}}).out_of_reach(curve())
    assert bar(**slow, boards={"pi": {"little": half, "big": half}}).out_of_reach(curve())


def test_what_meets_no_constraint_even_with_luck_is_out_of_reach():
    assert bar(front=(), constraints={"macs": 0.5e6}).out_of_reach(curve())
    assert not bar(front=(), constraints={"macs": 2e6}).out_of_reach(curve())


def test_luck_holds_what_nine_of_ten_thousand_image_curves_would_be():
    whole = curve(10_000, seed=1)
    held = []
    for seed in range(200):
        few = curve(200, seed=seed)
        best = lucky(few, 2.0)
        held.append(best.accuracy[0] >= whole.accuracy[0] and best.accuracy[-1] >= whole.accuracy[-1])
        assert (best.escalated <= few.escalated).all()
        assert (best.correct >= few.correct).all()
    assert np.mean(held) >= 0.9


def test_a_bar_survives_its_journey():
    sent = bar(boards={"pi": {"little": HalfCost(latency_ms=1.0), "big": HalfCost(memory_kib=2.0)}},
               constraints={"macs": 2e6})  # fmt: skip
    assert Bar.from_dict(json.loads(json.dumps(sent.to_dict()))) == sent


@pytest.mark.parametrize("parts", [(), (0.5, 0.2), (0.0,), (1.0,), (0.2, 0.2), (float("nan"),)])
def test_parts_ascend_between_nothing_and_all(parts):
    with pytest.raises(InvalidRequestError, match="must ascend between 0 and 1"):
        bar(parts=parts)


@pytest.mark.parametrize("doubt", [0.0, -1.0, float("inf"), float("nan")])
def test_doubt_is_a_number_above_zero(doubt):
    with pytest.raises(InvalidRequestError, match="doubt is"):
        bar(doubt=doubt)
