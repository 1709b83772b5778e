from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import latent, outcomes
from workers.protocol.choices import choose_iso
from workers.protocol.outcomes import Outcomes
from workers.protocol.sweep import FrozenSweep
from workers.routing.risk_control import P_VALUES, control_risk

EPSILON, DELTA = 0.02, 0.1
POPULATION = latent(100_000, seed=0, noise=0.5)
GRID = FrozenSweep.freeze(latent(2000, seed=99, noise=0.5).scores, points=51).thresholds  # another split's scores


def sample(n: int, seed: int) -> Outcomes:
    index = np.random.default_rng(seed).integers(0, POPULATION.n, size=n)
    return outcomes(POPULATION.scores[index], POPULATION.little_correct[index], POPULATION.escalated_correct[index])


def true_increase(threshold: float) -> float:
    return float(POPULATION.escalated_accuracy - POPULATION.correct(threshold).mean())


@pytest.mark.parametrize("test", P_VALUES)
def test_the_increase_exceeds_epsilon_in_at_most_delta_of_calibrations_and_work_is_saved(test):
    found = [
        control_risk(sample(1000, seed), thresholds=GRID, max_increase=EPSILON, delta=DELTA, test=test)
        for seed in range(200)
    ]
    broken = np.mean([true_increase(one.threshold) > EPSILON for one in found])
    assert broken <= DELTA
    assert np.mean([one.calibration_rate for one in found]) < 0.7


def test_a_threshold_that_only_looks_safe_on_calibration_breaks_the_promise_often():
    broken = []
    for seed in range(100):
        calibration = sample(1000, seed)
        reference = calibration.escalated_accuracy
        naive = choose_iso(calibration.curve, 100 * EPSILON, reference_accuracy=reference).threshold
        broken.append(true_increase(naive) > EPSILON)
    assert np.mean(broken) > 3 * DELTA


@pytest.mark.parametrize("test", P_VALUES)
@pytest.mark.parametrize(("harm", "help_"), [(0.02, 0.0), (0.05, 0.03), (0.2, 0.18)])
def test_p_values_at_the_limit_are_small_as_seldom_as_they_say(test, harm, help_):
    rng = np.random.default_rng(0)
    p_values = [
        P_VALUES[test](rng.choice([1.0, -1.0, 0.0], size=500, p=[harm, help_, 1 - harm - help_]), 0.02)
        for _ in range(1000)
    ]
    for delta in (0.05, 0.1, 0.3):
        assert np.mean(np.array(p_values) <= delta) <= delta + 2 * np.sqrt(delta * (1 - delta) / 1000)


def test_betting_counts_what_routing_gains_and_the_binomial_test_does_not():
    made = np.repeat([1.0, -1.0, 0.0], [60, 60, 1880])
    assert P_VALUES["betting"](made, 0.02) < 0.1 < P_VALUES["binomial"](made, 0.02)


@pytest.mark.parametrize(("n", "p_value"), [(100, 0.95**100), (10, 0.95**10)])
def test_without_any_harm_the_binomial_p_value_has_a_closed_form(n, p_value):
    assert P_VALUES["binomial"](np.zeros(n), 0.05) == pytest.approx(p_value)


def test_betting_without_harm_is_no_better_than_its_best_bet():
    assert 0.95**200 < P_VALUES["betting"](np.zeros(200), 0.05) < 0.01  # best capital: (1 + .99 * .05 / .95)^200


def test_more_calibration_images_allow_more_saving():
    rates = [
        control_risk(sample(n, 5), thresholds=GRID, max_increase=EPSILON, delta=DELTA).calibration_rate
        for n in (200, 1000, 20_000)
    ]
    assert rates == sorted(rates, reverse=True)


def test_too_few_images_leave_everything_escalated():
    found = control_risk(sample(5, 0), thresholds=GRID, max_increase=0.01, delta=0.05)
    assert (found.threshold, found.p_value, found.calibration_increase) == (np.inf, None, 0.0)
    assert found.to_dict()["threshold"] == "always"


def test_a_static_reference_that_even_escalating_misses_leaves_no_threshold():
    calibration = sample(1000, 0)
    found = control_risk(
        calibration,
        thresholds=GRID,
        max_increase=EPSILON,
        delta=DELTA,
        reference_correct=np.ones(calibration.n, dtype=bool),
    )
    assert (found.threshold, found.calibration_rate) == (None, None)


def test_the_sequence_ends_at_the_first_threshold_that_fails():
    """Scores from 2 to 3 do harm, those below help so much that the whole looks safe again."""
    sizes = [1000, 400, 400]
    scores, little, big = (np.repeat(values, sizes) for values in ([1.0, 2.5, 4.0], [1, 0, 1], [0, 1, 1]))
    made = outcomes(scores, little, big)
    found = control_risk(made, thresholds=[-np.inf, 2, 3, np.inf], max_increase=0.05, delta=0.1)
    never = control_risk(made, thresholds=[-np.inf, np.inf], max_increase=0.05, delta=0.1)
    assert (found.threshold, never.threshold) == (3, -np.inf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_increase": 0.0}, "both must lie between 0 and 1"),
        ({"delta": 1.0}, "both must lie between 0 and 1"),
        ({"test": "hope"}, "unknown test 'hope'; choose one of: betting, binomial"),
        ({"thresholds": []}, "give at least one threshold"),
        ({"reference_correct": np.ones(3, dtype=bool)}, "a reference on the same images"),
    ],
)
def test_bad_requests_are_refused(change, message):
    given = {"thresholds": GRID, "max_increase": EPSILON, "delta": DELTA}
    with pytest.raises(InvalidRequestError, match=message):
        control_risk(sample(10, 0), **{**given, **change})
