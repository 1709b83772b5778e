from __future__ import annotations

import numpy as np
import pytest

from nas_service.search.scaling import Scale, fitted_scale

X = np.random.default_rng(1).normal(size=(80, 3))
COVARIANCE = X @ X.T + 0.03 * np.eye(80)


def fitted(y):
    return fitted_scale(y[:, None], COVARIANCE)


def test_what_adds_up_is_left_linear():
    assert fitted(X @ [1.0, 2.0, 3.0] + 20).origin is None


def test_what_multiplies_is_learnt_as_its_logarithm():
    assert fitted(1e9 * np.exp(X @ [1.0, 2.0, 1.0])).origin is not None


@pytest.mark.parametrize("origin", [None, -3.0])
def test_a_scale_can_be_undone(origin):
    y = np.linspace(-2.5, 40.0, 9)
    scale = Scale(unit=5.0, origin=origin)
    assert scale.backward(scale.forward(y)).tolist() == pytest.approx(y.tolist())


def test_one_absurdly_bad_figure_does_not_flatten_the_others():
    y = X @ [1.0, 2.0, 3.0]
    y[7] = 1e9
    z = fitted(y).forward(y)
    others = np.delete(z, 7)
    assert np.ptp(others) > 0.3 * (z.max() - others.min())


@pytest.mark.parametrize("y", [np.zeros(80), np.full(80, 1e12), np.full(80, -5e-300)])
def test_equal_figures_stay_equal_and_finite(y):
    z = fitted(y).forward(y)
    assert np.isfinite(z).all()
    assert np.ptp(z) == 0
