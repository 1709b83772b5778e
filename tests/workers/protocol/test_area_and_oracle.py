from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.area import absolute_area, normalised_area, normalised_area_interval, normalised_cost_area
from workers.protocol.bootstrap import Resamples
from workers.protocol.oracle import Oracle, oracle_scores, random_scores
from workers.protocol.outcomes import Outcomes

BITS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40)


def rescored(made: Outcomes, scores) -> Outcomes:
    return outcomes(scores, made.little_correct, made.escalated_correct)


def of(bits) -> Outcomes:
    little, big, scores = zip(*bits, strict=True)
    return outcomes(scores, little, big)


@pytest.mark.parametrize(
    ("rate", "best", "chance"), [(0.0, 0.5, 0.5), (0.2, 0.7, 0.54), (0.5, 0.8, 0.6), (0.95, 0.75, 0.69), (1, 0.7, 0.7)]
)
def test_the_oracle_gains_p01_then_waits_then_loses_p10(rate, best, chance):
    oracle = Oracle(little_accuracy=0.5, p01=0.3, p10=0.1)
    assert float(oracle.accuracy(rate)) == pytest.approx(best)
    assert float(oracle.random_accuracy(rate)) == pytest.approx(chance)
    assert (oracle.big_accuracy, oracle.best_accuracy) == (pytest.approx(0.7), pytest.approx(0.8))


def test_disagreement_explains_the_difference_in_accuracy():
    made = latent(500, seed=0)
    oracle = Oracle.of(made)
    assert oracle.big_accuracy == pytest.approx(made.escalated_accuracy)


@settings(max_examples=100, deadline=None)
@given(BITS)
def test_no_router_beats_the_oracle_at_any_rate(bits):
    made = of(bits)
    curve = made.curve
    assert (Oracle.of(made).regret(curve.escalation_rate, curve.accuracy) >= -1e-12).all()


@settings(max_examples=100, deadline=None)
@given(BITS)
def test_the_oracle_router_has_area_one_and_its_reverse_minus_one(bits):
    made = of(bits)
    best = oracle_scores(made.little_correct, made.escalated_correct)
    expected = None if len(set(made.gain)) == 1 else 1.0
    assert normalised_area(rescored(made, best)) == (None if expected is None else pytest.approx(expected))
    assert normalised_area(rescored(made, -best)) == (None if expected is None else pytest.approx(-expected))


def test_random_routers_have_area_zero_on_average():
    made, rng = latent(2000, seed=0), np.random.default_rng(1)
    areas = [normalised_area(rescored(made, random_scores(made.n, rng=rng))) for _ in range(200)]
    assert abs(np.mean(areas)) < 3 * np.std(areas) / np.sqrt(200)


def test_a_constant_score_is_a_random_router():
    assert normalised_area(rescored(latent(100, seed=0), np.zeros(100))) == pytest.approx(0)


def test_less_noise_in_the_router_is_more_area():
    areas = [normalised_area(latent(3000, seed=0, noise=noise)) for noise in (0.0, 0.5, 2.0, 8.0)]
    assert areas == sorted(areas, reverse=True)
    assert 0 < areas[-1] < 0.3 < areas[0] < 1


def test_area_has_the_closed_form_of_four_inputs():
    made = outcomes([0, 1, 2, 3], [1, 0, 1, 0], [1, 1, 0, 0])  # gains in order of score: 0, 1, -1, 0
    area = 0.5 + 0.25 * (0.125 + 0.125)  # accuracies .5 .5 .75 .5 .5 over five rates
    chance, best = 0.5, 0.5 + 0.25 - 0.25**2
    assert normalised_area(made) == pytest.approx((area - chance) / (best - chance))


@settings(max_examples=50, deadline=None)
@given(BITS)
def test_over_cost_and_over_rate_a_pairs_area_is_the_same(bits):
    made = of(bits)
    area = normalised_area(made)
    assert normalised_cost_area(made, costs=COSTS) == (None if area is None else pytest.approx(area, abs=1e-9))


def test_the_interval_is_that_of_areas_of_the_drawn_images():
    made = latent(60, seed=0)
    drawn = Resamples.draw(60, rng=np.random.default_rng(0), count=150)
    found = normalised_area_interval(made, drawn)
    areas = []
    for row in drawn.counts:
        index = np.repeat(np.arange(60), row.astype(int))
        areas.append(
            normalised_area(outcomes(made.scores[index], made.little_correct[index], made.escalated_correct[index]))
        )
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])), abs=1e-5)
    assert found.estimate == normalised_area(made)


def test_two_equal_nets_have_no_area():
    made = outcomes([0, 1], [1, 0], [1, 0])
    drawn = Resamples.draw(2, rng=np.random.default_rng(0), count=5)
    assert normalised_area_interval(made, drawn) is None


@pytest.mark.parametrize(
    ("cost", "accuracy", "interval", "area"),
    [
        ([10, 20], [0.5, 0.7], (10, 20), 0.6),
        ([10, 20], [0.5, 0.7], (10, 30), 0.65),
        ([10, 20], [0.5, 0.7], (0, 20), 0.35),  # below its first point it guesses one of ten classes
        ([15, 20, 30], [0.5, 0.7, 0.6], (20, 30), 0.7),
        ([40], [0.9], (10, 20), 0.1),
        ([5], [0.9], (10, 20), 0.9),
    ],
)
def test_the_absolute_area_is_mean_accuracy_over_the_common_interval(cost, accuracy, interval, area):
    assert absolute_area(cost, accuracy, interval=interval, floor=0.1) == pytest.approx(area)


def test_an_empty_interval_is_refused():
    with pytest.raises(InvalidRequestError, match="give low < high and points"):
        absolute_area([1], [1], interval=(2, 2))
