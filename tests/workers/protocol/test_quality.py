from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.protocol.systems import cached, latent, outcomes
from workers.protocol.quality import (
    RouterQuality,
    aurc,
    auroc,
    best_aurc,
    expected_calibration_error,
    probabilities,
)

# Four inputs by rising score: wrong and rescued, wrong for both, right, right.
FOUR = outcomes([0, 1, 2, 3], [0, 0, 1, 1], [1, 0, 1, 1])


def test_figures_of_four_inputs_by_hand():
    found = RouterQuality.of(FOUR)
    assert (found.failure_auroc, found.benefit_auroc, found.benefit_aupr) == (1, 1, 1)
    assert found.benefit_share == 0.25
    assert found.aurc == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert found.e_aurc == pytest.approx(0)


@pytest.mark.parametrize(
    ("scores", "value"), [([0, 0, 1, 1], 1.0), ([1, 1, 0, 0], 0.0), ([0, 1, 0, 1], 0.5), ([5, 5, 5, 5], 0.5)]
)
def test_auroc_is_the_chance_that_a_failure_scores_lower(scores, value):
    assert auroc(np.array(scores, dtype=float), np.array([True, True, False, False])) == value


def test_figures_without_both_outcomes_are_unknown():
    found = RouterQuality.of(outcomes([0, 1], [1, 1], [1, 0]))
    assert (found.failure_auroc, found.benefit_auroc, found.benefit_aupr) == (None, None, None)


def test_the_worst_order_has_the_largest_excess():
    wrong = np.array([True, True, False, False])
    assert aurc(np.array([3.0, 2.0, 1.0, 0.0]), wrong) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 1000))
def test_excess_is_never_negative_and_ties_are_the_mean_of_their_orders(bits, seed):
    wrong, rng = np.array(bits), np.random.default_rng(seed)
    assert aurc(rng.integers(0, 4, len(bits)).astype(float), wrong) >= best_aurc(errors=sum(bits), n=len(bits)) - 1e-12
    assert aurc(np.zeros(len(bits)), wrong) == pytest.approx(wrong.mean())


def test_the_best_aurc_tends_to_its_integral():
    error = 0.2  # Geifman et al. 2019: r + (1 - r) ln(1 - r)
    assert best_aurc(errors=2000, n=10_000) == pytest.approx(error + (1 - error) * np.log(1 - error), abs=1e-3)


def test_a_clearer_view_of_difficulty_ranks_better():
    sharp, blurred = (RouterQuality.of(latent(3000, seed=0, noise=noise)) for noise in (0.1, 3.0))
    assert sharp.failure_auroc > blurred.failure_auroc > 0.5
    assert sharp.benefit_aupr > blurred.benefit_aupr > blurred.benefit_share
    assert sharp.e_aurc < blurred.e_aurc


def test_calibration_error_by_hand():
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]))
    labels = np.array([0, 1, 0, 0])  # half right at 0.9, all right at 0.6
    assert expected_calibration_error(logits, labels) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


def test_a_confidence_on_the_edge_of_two_bins_belongs_to_the_lower():
    logits = np.array([[0.0, 0.0], [np.log(9), 0.0]])  # confidences .5, right, and .9, wrong
    assert expected_calibration_error(logits, np.array([0, 1]), bins=2) == pytest.approx((0.5 + 0.9) / 2)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_scaling_spoils_it():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(20_000, 5))
    labels = (probabilities(logits).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert expected_calibration_error(logits, labels) < 0.015
    assert expected_calibration_error(logits, labels, temperature=0.5) > 0.1


def test_probabilities_of_huge_logits_stay_finite():
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0]])), [[1.0, 0.0]])
    np.testing.assert_allclose(probabilities(cached(9, seed=0).little_logits, temperature=1e9), 0.25, atol=1e-6)
