from __future__ import annotations

import numpy as np
import pytest

from tests.workers.protocol.systems import COSTS, latent
from workers.protocol.bootstrap import Resamples
from workers.protocol.equal_accuracy import cost_difference, cost_difference_interval
from workers.protocol.hypervolume import SweptSystem
from workers.protocol.outcomes import PathCosts
from workers.protocol.sweep import FrozenSweep

POINTS = np.array([[10.0, 0.5], [20.0, 0.3], [40.0, 0.2]])


def swept(costs=COSTS, *, noise=0.5) -> SweptSystem:
    sweep = FrozenSweep.freeze(latent(500, seed=100, noise=noise).scores)
    return SweptSystem(sweep=sweep, test=latent(500, seed=0, noise=noise), costs=costs)


@pytest.mark.parametrize("factor", [0.5, 0.88, 1.0, 2.0])
def test_a_system_of_so_much_less_cost_everywhere_is_so_much_cheaper(factor):
    assert cost_difference(POINTS * [factor, 1], POINTS) == pytest.approx(factor - 1)


def test_points_below_the_envelope_change_nothing():
    noisy = np.vstack([POINTS, [[15.0, 0.6], [30.0, 0.29], [50.0, 0.2]]])
    assert cost_difference(noisy, POINTS) == pytest.approx(0)


def test_only_accuracies_that_both_reach_are_compared():
    longer = np.vstack([POINTS, [[1000.0, 0.1]]])
    assert cost_difference(longer, POINTS) == pytest.approx(0)


def test_systems_without_a_common_accuracy_cannot_be_compared():
    assert cost_difference(POINTS, POINTS - [0, 0.4]) is None


def test_the_mean_is_geometric_so_that_turning_round_inverts_it():
    other = np.array([[8.0, 0.5], [25.0, 0.3], [30.0, 0.2]])
    assert (1 + cost_difference(POINTS, other)) * (1 + cost_difference(other, POINTS)) == pytest.approx(1)


def test_the_interval_of_an_exact_factor_has_no_width():
    cheaper = PathCosts(little=9, tail=81, big=100)
    drawn = Resamples.draw(500, rng=np.random.default_rng(0), count=30)
    found = cost_difference_interval(swept(cheaper), swept(), resamples=drawn)
    assert (found.low, found.high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_a_better_router_is_cheaper_at_equal_accuracy_beyond_chance():
    drawn = Resamples.draw(500, rng=np.random.default_rng(0), count=100)
    assert cost_difference_interval(swept(noise=0.1), swept(noise=3), resamples=drawn).high < 0
