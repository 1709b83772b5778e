"""Predicted costs are near the measured ones, say how far off they may be, and are not used where they are poor."""

from __future__ import annotations

import numpy as np
import pytest

from nas_service.cost_predictor import Quality, cross_validated, fitted_predictor, quality_of
from nas_service.errors import InvalidRequestError
from tests.nas_service.measured import drawn_halves, made_up_ms

HALVES = drawn_halves(80)
COSTS = made_up_ms(HALVES)
FIT = fitted_predictor(HALVES[:60], COSTS[:60])


def test_halves_that_were_not_measured_are_predicted_from_those_that_were():
    quality = quality_of(FIT.predict(HALVES[60:])[0], np.array(COSTS[60:]))
    assert quality.within >= 0.9
    assert quality.tau >= 0.85


def test_the_doubt_is_about_as_large_as_the_error():
    predicted, doubt = FIT.predict(HALVES[60:])
    off = np.log(np.array(COSTS[60:]) / predicted) / doubt
    assert 0.3 < off.std() < 2.5


def test_doubt_grows_away_from_what_was_measured():
    import dataclasses

    layers = tuple(
        dataclasses.replace(r, in_channels=8 * r.in_channels, out_channels=8 * r.out_channels, groups=1)
        for r in HALVES[0].layers
    )
    far = dataclasses.replace(HALVES[0], layers=layers)
    near_doubt, far_doubt = FIT.predict([HALVES[0], far])[1]
    assert far_doubt > near_doubt


def test_predictions_are_positive_whatever_is_asked():
    import dataclasses

    empty = dataclasses.replace(HALVES[0], layers=HALVES[0].layers[:1])
    assert (FIT.predict([empty, *HALVES])[0] > 0).all()


def test_the_same_measurements_give_the_same_predictions():
    again = fitted_predictor(HALVES[:60], COSTS[:60])
    np.testing.assert_array_equal(again.predict(HALVES)[0], FIT.predict(HALVES)[0])


def test_cross_validation_tells_a_law_from_noise():
    lawful = cross_validated(HALVES, COSTS)
    noise = cross_validated(HALVES, list(np.random.default_rng(1).uniform(0.1, 1.0, len(HALVES))))
    assert lawful.usable
    assert not noise.usable
    assert "not used (it needs tau 0.7 and 10%)" in str(noise)


def test_costs_that_are_all_equal_have_no_order_and_need_none():
    quality = quality_of(np.ones(5), np.ones(5))
    assert quality == Quality(halves=5, within=1.0, mape=0.0, tau=0.0)
    assert quality.usable


@pytest.mark.parametrize(
    ("halves", "costs", "words"),
    [
        (HALVES[:19], COSTS[:19], "19 halves with 19 costs cannot be learnt from; measure at least 20"),
        (HALVES[:30], COSTS[:29], "30 halves with 29 costs cannot be learnt from"),
        (HALVES[:20], [0.0, *COSTS[1:20]], "1 of 20 costs are not positive numbers; measure those halves again"),
        (HALVES[:20], [float("nan")] * 20, "20 of 20 costs are not positive numbers"),
    ],
)
def test_too_little_or_impossible_costs_are_refused(halves, costs, words):
    with pytest.raises(InvalidRequestError, match=words):
        fitted_predictor(halves, costs)
