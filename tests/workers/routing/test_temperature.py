from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import InvalidRequestError
from workers.protocol.quality import expected_calibration_error, probabilities
from workers.routing.temperature import fit_temperature


def calibrated(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth that labels are drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 4))
    return logits, (probabilities(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("overconfidence", [0.4, 1.0, 3.0])
def test_the_factor_by_which_logits_are_too_large_is_found(overconfidence):
    logits, labels = calibrated(20_000)
    assert fit_temperature(overconfidence * logits, labels).value == pytest.approx(overconfidence, rel=0.05)


def test_scaling_mends_calibration_on_images_that_it_has_not_seen():
    logits, labels = calibrated(4000)
    found = fit_temperature(3 * logits, labels)
    fresh, answers = calibrated(4000, seed=1)
    before = expected_calibration_error(3 * fresh, answers)
    assert expected_calibration_error(found.apply(3 * fresh), answers) < 0.03 < 0.15 < before


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_the_likelihood_never_falls_and_no_arg_max_changes(seed, n):
    rng = np.random.default_rng(seed)
    logits, labels = 5 * rng.normal(size=(n, 3)), rng.integers(0, 3, size=n)
    found = fit_temperature(logits, labels)
    assert found.nll_after <= found.nll_before
    assert (found.apply(logits).argmax(1) == logits.argmax(1)).all()


def test_no_other_temperature_is_likelier():
    logits, labels = calibrated(300)
    best = fit_temperature(2 * logits, labels)
    for factor in (0.97, 1.03):
        scaled = 2 * logits / (best.value * factor)
        assert -np.log(probabilities(scaled)[np.arange(300), labels]).mean() > best.nll_after


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidRequestError, match=r"give \(N, classes\) and \(N,\), N >= 1"):
        fit_temperature(np.zeros((3, 2)), np.zeros(4, dtype=int))
