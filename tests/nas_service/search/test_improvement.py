from __future__ import annotations

import numpy as np
import pytest

from nas_service.front import hypervolume
from nas_service.search import improvement
from nas_service.search.improvement import improvements, normal_draws

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("known", [0, 1, 12])
def test_it_is_the_hypervolume_with_the_curve_less_that_without(dimensions, width, known):
    front, curves = RNG.random((known, dimensions)), RNG.random((20, width, dimensions)) * 1.3
    reference = np.full(dimensions, 1.1)
    whole = hypervolume(front, reference) if known else 0.0
    expected = [hypervolume(np.vstack([front, curve]), reference) - whole for curve in curves]
    assert improvements(curves, front, reference) == pytest.approx(expected)


def test_points_beyond_the_reference_and_repeated_ones_add_nothing():
    front = np.array([[0.2, 0.8], [0.5, 0.5], [0.5, 0.5], [2.0, 0.1]])
    curves = np.array([[[0.5, 0.5]], [[0.1, 1.5]], [[1.5, 0.0]]])
    assert improvements(curves, front, np.array([1.0, 1.0])).tolist() == [0.0, 0.0, 0.0]


def test_no_volume_is_computed_of_curves_that_the_front_covers(monkeypatch):
    asked = []
    monkeypatch.setattr(improvement, "hypervolume", lambda points, at: asked.append(len(points)) or float(len(points)))
    front = np.array([[0.2, 0.8, 0.5], [0.5, 0.5, 0.5]])
    covered, beyond, better = [[0.6, 0.5, 0.5]], [[0.1, 0.1, 1.5]], [[0.1, 0.1, 0.9]]
    gains = improvements(np.array([covered, beyond, better]), front, np.ones(3))
    assert gains.tolist() == [0.0, 0.0, 1.0]
    assert asked == [2, 3]  # of the front, and with the one that may add something


def test_draws_are_spread_evenly_over_the_normal():
    draws = normal_draws(64, 2, RNG)
    assert draws.shape == (64, 2)
    assert np.abs(draws.mean(axis=0)).max() < 1e-9
    assert draws.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.05)
