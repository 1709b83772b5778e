from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.sweep import FrozenSweep


def test_thresholds_escalate_the_target_share_of_calibration():
    sweep = FrozenSweep.freeze(np.random.default_rng(0).normal(size=1000))
    np.testing.assert_allclose(sweep.calibration_rate, np.linspace(0, 1, 101), atol=1e-12)
    assert (sweep.thresholds[0], sweep.thresholds[-1]) == (-np.inf, np.inf)


def test_thresholds_lie_half_way_between_neighbouring_scores():
    assert FrozenSweep.freeze(np.array([4.0, 1.0, 2.0, 8.0]), points=5).thresholds[1:-1].tolist() == [1.5, 3.0, 6.0]


def test_tied_scores_are_routed_together_and_the_realised_rate_says_so():
    sweep = FrozenSweep.freeze(np.array([1.0, 2.0, 2.0, 2.0]), points=5)
    assert sweep.calibration_rate.tolist() == [0.0, 0.25, 0.25, 0.25, 1.0]


def test_the_transfer_gap_is_what_test_escalates_beyond_the_target():
    sweep = FrozenSweep.freeze(np.arange(100.0), points=11)
    applied = sweep.apply(outcomes(np.arange(100.0) + 20, np.ones(100), np.ones(100)), costs=COSTS)
    np.testing.assert_allclose(applied.transfer_gap[1:-1], [-0.1] + [-0.2] * 8)
    assert applied.worst_transfer_gap == pytest.approx(0.2)


def test_accuracy_and_cost_are_those_of_the_routed_predictions():
    little, big = np.array([0, 1, 1, 0]), np.array([1, 0, 1, 1])
    applied = FrozenSweep.freeze(np.arange(4.0), points=5).apply(outcomes(range(4), little, big), costs=COSTS)
    assert applied.accuracy.tolist() == [0.5, 0.75, 0.5, 0.5, 0.75]
    np.testing.assert_allclose(applied.cost, [10, 32.5, 55, 77.5, 100])
    assert applied.points.shape == (5, 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_thresholds_never_descend_and_tests_own_rate_never_falls(scores):
    sweep = FrozenSweep.freeze(np.array(scores))
    assert (sweep.thresholds[1:] >= sweep.thresholds[:-1]).all()
    applied = sweep.apply(latent(40, seed=0), costs=COSTS)
    assert (np.diff(applied.rate) >= 0).all()
    assert (applied.rate[0], applied.rate[-1]) == (0, 1)


def test_the_gap_shrinks_with_the_calibration_split():
    test = latent(20_000, seed=1)
    gaps = [
        np.abs(FrozenSweep.freeze(latent(n, seed=2).scores).apply(test, costs=COSTS).transfer_gap).mean()
        for n in (50, 5000)
    ]
    assert gaps[1] < 0.01 < gaps[0]


@pytest.mark.parametrize(("scores", "points"), [(np.zeros(0), 5), (np.zeros(5), 1), (np.zeros((2, 2)), 5)])
def test_a_sweep_of_nothing_is_refused(scores, points):
    with pytest.raises(InvalidRequestError, match="give >= 2 points"):
        FrozenSweep.freeze(scores, points=points)
