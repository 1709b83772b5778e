from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.bootstrap import Resamples
from workers.protocol.hypervolume import SweptSystem, common_reference, hypervolume_difference, sweep_hypervolume
from workers.protocol.outcomes import PathCosts
from workers.protocol.sweep import FrozenSweep


def swept(*, noise=1.0, costs=COSTS, n=400) -> SweptSystem:
    """The same nets on the same images, seen by a router through more or less noise."""
    calibration = latent(n, seed=100, noise=noise)
    return SweptSystem(sweep=FrozenSweep.freeze(calibration.scores), test=latent(n, seed=0, noise=noise), costs=costs)


def drawn(n=400, *, seed=0):
    return Resamples.draw(n, rng=np.random.default_rng(seed), count=100)


def test_volume_is_the_share_of_the_box_that_is_dominated():
    assert sweep_hypervolume(np.array([[25.0, 0.2], [50.0, 0.1]]), (100.0, 0.4)) == pytest.approx(
        (25 * 0.2 + 50 * 0.3) / 40
    )


def test_a_little_as_good_as_the_big_fills_all_but_its_cost():
    made = outcomes(range(4), [1] * 4, [1] * 4)
    system = SweptSystem(sweep=FrozenSweep.freeze(made.scores), test=made, costs=COSTS)
    assert sweep_hypervolume(system.points(), (100.0, 1.0)) == pytest.approx(0.9)


def test_a_system_does_not_differ_from_itself():
    found = hypervolume_difference(swept(), swept(), reference=(101, 0.5), resamples=drawn())
    assert (found.difference.estimate, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.share_better == 0


def test_a_better_router_has_more_volume_beyond_chance():
    found = hypervolume_difference(swept(noise=0.1), swept(noise=10), reference=(101, 0.5), resamples=drawn())
    assert found.first > found.second
    assert found.difference.low > 0
    assert found.share_better == 1


def test_turning_the_systems_round_turns_the_sign():
    one, two = swept(noise=0.5), swept(noise=2)
    ab = hypervolume_difference(one, two, reference=(101, 0.5), resamples=drawn())
    ba = hypervolume_difference(two, one, reference=(101, 0.5), resamples=drawn())
    assert ab.difference.estimate == pytest.approx(-ba.difference.estimate)
    assert ab.difference.low == pytest.approx(-ba.difference.high)


def test_the_resamples_are_those_of_the_drawn_images():
    system, resamples = swept(n=60), drawn(60)
    points = system.resampled_points(resamples)
    index = np.repeat(np.arange(60), resamples.counts[3].astype(int))
    test = system.test
    again = outcomes(test.scores[index], test.little_correct[index], test.escalated_correct[index])
    expected = system.sweep.apply(again, costs=system.costs).points
    np.testing.assert_allclose(points[3], expected, rtol=1e-5, atol=1e-6)


def test_cheaper_paths_dominate_more():
    cheap = PathCosts(little=9, tail=80, big=100)
    found = hypervolume_difference(swept(costs=cheap), swept(), reference=(101, 0.5), resamples=drawn())
    assert found.difference.low > 0


def test_the_common_reference_is_beyond_every_point():
    applied = [s.sweep.apply(s.test, costs=s.costs) for s in (swept(noise=0.1), swept(noise=9))]
    reference = common_reference(applied)
    assert all((one.points < reference).all() for one in applied)
    with pytest.raises(InvalidRequestError, match="give at least one applied sweep"):
        common_reference([])


def test_systems_on_other_images_cannot_be_paired():
    with pytest.raises(InvalidRequestError, match="pair systems on the same images"):
        hypervolume_difference(swept(n=30), swept(), reference=(101, 0.5), resamples=drawn())
