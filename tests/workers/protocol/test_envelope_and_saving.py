from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.bootstrap import Resamples
from workers.protocol.choices import BudgetChoice, IsoChoice, choose_for_budget, choose_iso
from workers.protocol.envelope import StaticEnvelope, StaticNet
from workers.protocol.saving import iso_cost_gain, iso_saving


def net(cost, right, *, n=10) -> StaticNet:
    return StaticNet(name=f"net-{cost}", cost=cost, correct=np.arange(n) < right)


ENVELOPE = StaticEnvelope([net(10, 5), net(20, 6), net(30, 8), net(40, 7), net(50, 8), net(25, 5)])


def resamples(n, *, count=200):
    return Resamples.draw(n, rng=np.random.default_rng(0), count=count)


@pytest.mark.parametrize(
    ("cost", "accuracy"), [(9.9, None), (10, 0.5), (20, 0.65), (30, 0.8), (45, 0.8), (1000, 0.8)]
)  # net-20 lies below the line from net-10 to net-30
def test_the_envelope_is_concave_and_level_beyond_the_best(cost, accuracy):
    assert ENVELOPE.accuracy(cost) == (None if accuracy is None else pytest.approx(accuracy))


def test_no_static_net_lies_above_the_envelope():
    rng = np.random.default_rng(0)
    nets = [net(float(c), int(r), n=100) for c, r in zip(rng.uniform(1, 9, 30), rng.integers(20, 90, 30), strict=True)]
    envelope = StaticEnvelope(nets)
    assert all(envelope.accuracy(one.cost) >= one.accuracy - 1e-12 for one in nets)
    steps = np.diff([envelope.accuracy(c) for c in np.linspace(envelope.vertices[0].cost, 9, 50)])
    assert (np.diff(steps) <= 1e-12).all()


@pytest.mark.parametrize(
    ("nets", "message"), [([], "give at least one"), ([net(1, 1), net(2, 1, n=5)], "score all on the same split")]
)
def test_an_envelope_of_nothing_or_of_different_images_is_refused(nets, message):
    with pytest.raises(InvalidRequestError, match=message):
        StaticEnvelope(nets)


def test_saving_and_drop_have_closed_forms():
    calibration = outcomes(range(10), [0, 0] + [1] * 8, [1] * 10)
    test = outcomes(range(10), [0, 0, 0] + [1] * 7, [1] * 10)
    found = iso_saving(choose_iso(calibration.curve, 0.0, reference_accuracy=1.0), test, costs=COSTS,
                       resamples=resamples(10))  # fmt: skip
    assert (found.rate, found.cost) == (0.2, pytest.approx(28))
    assert found.saving.estimate == pytest.approx(0.72)
    assert found.drop_points.estimate == pytest.approx(10.0)
    assert found.saving.low <= 0.72 <= found.saving.high
    assert found.drop_points.low <= 10 <= found.drop_points.high


def test_a_drop_that_cannot_be_reached_on_calibration_has_no_test_figures():
    choice = IsoChoice(
        drop_points=0, reference_accuracy=1, threshold=None, calibration_accuracy=None, calibration_rate=None
    )
    found = iso_saving(choice, latent(20, seed=0), costs=COSTS, resamples=resamples(20))
    assert (found.saving, found.drop_points, found.accuracy) == (None, None, None)


def test_always_escalating_loses_nothing_against_itself_in_any_resample():
    choice = choose_iso(outcomes([0.0], [0], [1]).curve, 0.0, reference_accuracy=1.0)
    found = iso_saving(choice, latent(50, seed=0), costs=COSTS, resamples=resamples(50))
    assert (found.drop_points.low, found.drop_points.high) == (0, 0)
    assert found.saving.estimate == pytest.approx(1 - COSTS.worst / COSTS.big)


def test_gain_is_accuracy_less_the_envelope_at_the_budget():
    made = outcomes(range(10), [0, 0] + [1] * 8, [1] * 10)
    found = iso_cost_gain(
        choose_for_budget(made.curve, 28, costs=COSTS), made, costs=COSTS, envelope=ENVELOPE, resamples=resamples(10)
    )
    assert (found.accuracy, found.cost, found.within_budget) == (1.0, pytest.approx(28), True)
    assert found.static_accuracy == pytest.approx(0.77)
    assert found.gain_points.estimate == pytest.approx(23)


def test_a_system_that_is_the_static_mixture_gains_nothing():
    big, little = net(100, 80, n=100), net(10, 50, n=100)
    rng = np.random.default_rng(0)
    made = outcomes(rng.permutation(100), little.correct, big.correct)
    choice = BudgetChoice(budget=COSTS.expected(0.5), threshold=49.5, calibration_accuracy=None, calibration_cost=None)
    found = iso_cost_gain(
        choice, made, costs=COSTS, envelope=StaticEnvelope([big, little]), resamples=resamples(100, count=500)
    )
    assert not found.gain_points.excludes(0)


def test_a_point_above_its_budget_is_compared_at_its_own_cost_and_does_not_count():
    made = outcomes(range(10), [0] * 10, [1] * 10)
    choice = BudgetChoice(budget=20, threshold=4.5, calibration_accuracy=None, calibration_cost=None)
    found = iso_cost_gain(choice, made, costs=COSTS, envelope=ENVELOPE, resamples=resamples(10))
    assert not found.within_budget
    assert found.static_accuracy == ENVELOPE.accuracy(found.cost) == 0.8


def test_a_budget_below_every_static_net_has_no_gain_but_an_accuracy():
    choice = BudgetChoice(budget=10, threshold=-np.inf, calibration_accuracy=None, calibration_cost=None)
    found = iso_cost_gain(
        choice, latent(10, seed=0), costs=COSTS, envelope=StaticEnvelope([net(11, 5)]), resamples=resamples(10)
    )
    assert (found.static_accuracy, found.gain_points) == (None, None)
    assert found.accuracy is not None
