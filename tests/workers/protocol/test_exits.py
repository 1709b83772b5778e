from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import latent
from workers.protocol.exits import ExitOutcomes, ExitSweep

COSTS = np.array([1.0, 2.0, 4.0])


def outcomes(n: int, *, seed: int) -> ExitOutcomes:
    """Three exits, each clearer and more often right than the one before."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    noise = rng.normal(size=(3, n)) * np.array([[0.6], [0.4], [0.2]])
    return ExitOutcomes(scores=-difficulty - noise / 2, correct=difficulty + noise < np.array([[0.5], [1.0], [1.5]]))


@pytest.mark.parametrize(
    ("ratio", "shares"), [(1.0, (1 / 3, 1 / 3, 1 / 3)), (0.5, (4 / 7, 2 / 7, 1 / 7)), (2.0, (1 / 7, 2 / 7, 4 / 7))]
)  # q_e proportional to p^e
def test_exits_take_shares_in_the_ratio_on_calibration(ratio, shares):
    calibration = outcomes(7000, seed=0)
    applied = ExitSweep.freeze(calibration, ratios=(ratio,)).apply(calibration, costs=COSTS)
    np.testing.assert_allclose(applied.shares[0], shares, atol=2e-3)
    assert applied.cost[0] == pytest.approx(np.dot(shares, COSTS), abs=0.01)


def test_thresholds_of_six_inputs_by_hand():
    scores = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]], dtype=float)
    found = ExitSweep.freeze(ExitOutcomes(scores=scores, correct=scores > 0), ratios=(1.0,))
    assert found.thresholds[0].tolist() == [5, 5, -np.inf]
    assert found.exits(ExitOutcomes(scores=scores, correct=scores > 0))[0].tolist() == [0, 0, 2, 2, 1, 1]


def test_all_ratios_make_a_rising_sweep_that_beats_the_same_shares_at_random_in_the_middle():
    test = outcomes(4000, seed=1)
    applied = ExitSweep.freeze(outcomes(4000, seed=0)).apply(test, costs=COSTS)
    assert applied.points.shape == (39, 2)
    assert (np.diff(applied.cost) >= 0).all()
    assert applied.accuracy[19] > applied.shares[19] @ test.anytime() + 0.03


def test_the_anytime_accuracy_is_that_of_each_exit():
    made = outcomes(500, seed=0)
    np.testing.assert_allclose(made.anytime(), made.correct.mean(axis=1))


def test_two_exits_are_a_pair():
    pair = latent(1000, seed=0)
    made = ExitOutcomes(
        scores=np.stack([pair.scores, pair.scores]), correct=np.stack([pair.little_correct, pair.escalated_correct])
    )
    sweep = ExitSweep.freeze(made, ratios=(0.5, 1.0, 1.5))
    applied = sweep.apply(made, costs=np.array([10.0, 100.0]))
    for threshold, accuracy, share in zip(sweep.thresholds[:, 0], applied.accuracy, applied.shares[:, 1], strict=True):
        assert accuracy == pytest.approx(pair.correct(threshold).mean())
        assert share == pytest.approx(pair.escalates(threshold).mean())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ExitOutcomes(scores=np.zeros((1, 5)), correct=np.zeros((1, 5), dtype=bool)), "at least two exits"),
        (lambda: ExitOutcomes(scores=np.full((2, 3), np.nan), correct=np.ones((2, 3), dtype=bool)), "3 of 3 inputs"),
        (lambda: ExitSweep.freeze(outcomes(9, seed=0), ratios=(0.0,)), "give at least one, all above 0"),
        (
            lambda: ExitSweep.freeze(outcomes(9, seed=0)).apply(outcomes(9, seed=0), costs=np.array([1.0, 1.0, 2.0])),
            "give one for each, rising",
        ),
    ],
)
def test_bad_exits_are_refused(act, message):
    with pytest.raises(InvalidRequestError, match=message):
        act()
