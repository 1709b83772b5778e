from __future__ import annotations

import numpy as np
import pytest

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.operating_points import choose_thresholds, operating_points, promise
from workers.protocol.outcomes import Outcomes
from workers.routing.scored import Scored

# 1,000 inputs in order of score: escalating the first 40 puts each of them right, three later ones go wrong.
N = 1000
SCORES = np.arange(N) / N
LITTLE = np.ones(N, dtype=bool)
LITTLE[:40] = False
BIG = np.ones(N, dtype=bool)
BIG[[250, 300, 350]] = False
CURVE = Curve.from_outputs(SCORES, LITTLE, BIG)


def scored(scores=SCORES, little=LITTLE, big=BIG, *, predicted=None, classes=2) -> Scored:
    outcomes = Outcomes(scores=scores, little_correct=little, escalated_correct=big)
    return Scored(
        outcomes=outcomes, predicted=np.arange(len(scores)) % 2 if predicted is None else predicted, classes=classes
    )


def test_iso_points_escalate_least_among_those_accurate_enough():
    chosen = choose_thresholds(CURVE)
    always = BIG.mean()
    for drop in (0.0, 0.2, 0.5, 1.0):
        index = CURVE.index_of(chosen[f"iso-{drop:.1f}"])
        assert CURVE.accuracy[index] >= always - drop / 100
        assert (CURVE.accuracy[:index] < always - drop / 100).all()


def test_best_is_the_most_accurate_at_the_least_escalation():
    index = CURVE.index_of(choose_thresholds(CURVE)["best"])
    assert CURVE.escalated[index] == 40
    assert CURVE.accuracy[index] == 1.0


def test_names_are_those_of_the_bundle():
    assert set(choose_thresholds(CURVE)) == {"never", "always", "best", "iso-0.0", "iso-0.2", "iso-0.5", "iso-1.0"}


def test_a_little_that_is_good_enough_is_never_escalated():
    curve = Curve.from_outputs(SCORES, BIG, LITTLE)
    assert choose_thresholds(curve)["iso-0.5"] == "never"


@pytest.mark.parametrize(("threshold", "rate"), [("never", 0.0), (0.25, 0.25), ("always", 1.0)])
def test_promises_price_little_always_and_tail_by_the_escalation_rate(threshold, rate):
    made = promise(scored(), threshold, costs={"latency_ms@pi": (2.0, 8.0)})
    assert made.escalation_rate == pytest.approx(rate)
    assert made.expected_cost == {"latency_ms@pi": pytest.approx(2 + 8 * rate)}
    assert made.worst_cost == {"latency_ms@pi": 10.0}
    assert made.n == N


@pytest.mark.parametrize("index", [0, 40, 700, N])
def test_a_promise_is_the_point_of_the_curve(index):
    made = promise(scored(), CURVE.threshold(index), costs={})
    assert made.escalation_rate == CURVE.escalation_rate[index]
    assert made.accuracy == CURVE.accuracy[index]


def test_a_promise_by_class_counts_each_image_by_the_class_that_the_little_predicts():
    made = promise(scored(), (0.5, -1.0), costs={"macs": (1.0, 10.0)})  # class 0, the even images, below 0.5
    assert made.escalation_rate == 0.25
    assert made.accuracy == pytest.approx(1 - 23 / N)  # 20 odd ones of the first 40, and 250, 300, 350
    assert made.expected_cost == {"macs": 3.5}


def test_thresholds_for_another_number_of_classes_are_refused():
    with pytest.raises(InvalidRequestError, match="3 thresholds for 2 classes; give one, or one for each predicted"):
        promise(scored(), (0.1, 0.2, 0.3), costs={})


def test_test_figures_stand_beside_but_choose_nothing():
    thresholds = choose_thresholds(CURVE)
    points = operating_points(thresholds, calibration=scored(), test=scored(SCORES, BIG, LITTLE), costs={})
    assert [p.threshold for p in points] == list(thresholds.values())
    assert next(p for p in points if p.name == "never").test.accuracy == pytest.approx(BIG.mean())
    assert all(p.test is None for p in operating_points(thresholds, calibration=scored(), test=None, costs={}))


def test_a_threshold_of_another_split_routes_every_score_below_it():
    scores = np.array([0.1, 0.30, 0.42, 0.9])
    little, big = np.array([False, False, True, True]), np.array([True, True, True, True])
    made = promise(scored(scores, little, big), 0.354, costs={})  # below the middle of 0.30 and 0.42
    assert (made.escalation_rate, made.accuracy) == (0.5, 1.0)
