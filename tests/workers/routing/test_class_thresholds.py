from __future__ import annotations

import numpy as np
import pytest

from edge_agent.records import OperatingPoint, Promise
from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Outcomes
from workers.routing.class_thresholds import ClassThresholds, fit_class_thresholds

# Class 0 is always right, class 1 wrong below a score of one half; the big is always right.
N = 2000
SCORES = np.random.default_rng(0).random(N)
PREDICTED = np.arange(N) % 2
LITTLE = (PREDICTED == 0) | (SCORES > 0.5)
BIG = np.ones(N, dtype=bool)


def fit(rate, *, scores=SCORES, predicted=PREDICTED, little=LITTLE, big=BIG, classes=2, **options) -> ClassThresholds:
    return fit_class_thresholds(
        scores, predicted=predicted, little_correct=little, escalated_correct=big, classes=classes, rate=rate, **options
    )


def single(rate, *, scores=SCORES, little=LITTLE, big=BIG) -> float:
    curve = Outcomes(scores=scores, little_correct=little, escalated_correct=big).curve
    return float(curve.accuracy[np.flatnonzero(curve.escalation_rate <= rate)].max())


def test_only_the_class_that_errs_is_escalated():
    found = fit(0.3)
    assert found.thresholds[0] < SCORES.min()
    assert found.thresholds[1] == pytest.approx(0.5, abs=0.01)
    assert found.calibration_accuracy == 1.0
    assert found.calibration_rate == pytest.approx(1 - LITTLE.mean())
    assert single(0.3) < 0.9


def test_the_gain_holds_on_images_that_chose_nothing():
    found, rng = fit(0.3), np.random.default_rng(1)
    scores = rng.random(N)
    little = (PREDICTED == 0) | (scores > 0.5)
    escalated = found.shifted(scores, PREDICTED) < 0
    assert np.where(escalated, True, little).mean() > 0.98
    assert escalated.mean() < 0.3


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.6, 1.0])
def test_the_rate_is_kept_and_on_calibration_nothing_is_lost_against_one_threshold(rate):
    rng = np.random.default_rng(3)
    predicted = rng.integers(0, 5, size=N)
    hard = rng.normal(size=N) + 0.3 * predicted
    scores, little, big = -hard + rng.normal(size=N), hard < 0.5, hard + 0.3 * rng.normal(size=N) < 1.2
    found = fit(rate, scores=scores, predicted=predicted, little=little, big=big, classes=5)
    assert found.calibration_rate <= rate + 1e-12
    assert found.calibration_accuracy >= single(rate, scores=scores, little=little, big=big) - 2 / N


def test_rare_classes_take_the_single_threshold():
    predicted = np.where(np.arange(N) < 20, 2, PREDICTED)
    found = fit(0.3, predicted=predicted, classes=4)
    assert found.pooled == (False, False, True, True)
    assert found.thresholds[2] == found.thresholds[3] == pytest.approx(0.3, abs=0.01)


def test_a_share_that_no_price_reaches_is_used_up_all_the_same():
    found = fit(0.1)  # every escalation of class 1 gains the same, so prices give all of them or none
    assert found.calibration_rate == pytest.approx(0.1)
    assert found.calibration_accuracy == pytest.approx(LITTLE.mean() + 0.1)


def test_what_pooled_classes_escalate_counts():
    predicted = (np.arange(N) % 5 < 3).astype(int)  # 800 of class 0, 1,200 of class 1
    little = (predicted == 0) | (SCORES > 0.5)
    found = fit(0.2, predicted=predicted, little=little, min_samples=1000)
    assert found.pooled == (True, False)
    assert found.calibration_rate == pytest.approx(0.2)


def test_what_does_harm_is_not_escalated_to_fill_the_share():
    found = fit(1.0, little=BIG, big=LITTLE)
    assert (found.calibration_rate, found.calibration_accuracy) == (0.0, 1.0)


def test_with_no_class_of_its_own_it_is_the_single_threshold():
    found = fit(0.3, min_samples=N + 1)
    assert len(set(found.thresholds)) == 1
    assert found.calibration_rate == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_thresholds_are_what_an_operating_point_of_a_bundle_holds(rate):
    promise = Promise(accuracy=0.9, escalation_rate=rate, expected_cost={}, worst_cost={})
    point = OperatingPoint(name="per-class", threshold=list(fit(rate).thresholds), calibration=promise)
    assert len(point.threshold) == 2


def test_shifted_scores_route_as_the_board_does():
    found = fit(0.3)
    thresholds = np.array(found.thresholds)
    assert ((found.shifted(SCORES, PREDICTED) < 0) == (SCORES < thresholds[PREDICTED])).all()


@pytest.mark.parametrize(("rate", "classes"), [(1.1, 2), (0.5, 1)])
def test_rates_and_classes_out_of_range_are_refused(rate, classes):
    with pytest.raises(InvalidRequestError, match=r"give a rate in \[0, 1\] and classes below"):
        fit(rate, classes=classes)
