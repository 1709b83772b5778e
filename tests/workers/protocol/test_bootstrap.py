from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from workers.protocol.bootstrap import Resamples


def test_each_resample_draws_as_many_images_as_there_are():
    made = Resamples.draw(37, rng=np.random.default_rng(0), count=50)
    assert made.counts.shape == (50, 37)
    assert (made.counts.sum(axis=1) == 37).all()


def test_means_are_those_of_the_drawn_images():
    made = Resamples.draw(10, rng=np.random.default_rng(0), count=4)
    values = np.arange(10.0)
    expected = [np.repeat(values, row.astype(int)).mean() for row in made.counts]
    np.testing.assert_allclose(made.means(values), expected, rtol=1e-6)
    np.testing.assert_allclose(made.means(np.stack([values, -values]))[1], np.negative(expected), rtol=1e-6)


def test_the_interval_has_the_width_that_theory_gives():
    n, share = 2000, 0.3
    values = np.arange(n) < share * n
    found = Resamples.draw(n, rng=np.random.default_rng(0), count=2000).interval(values)
    half = 1.96 * np.sqrt(share * (1 - share) / n)
    assert (found.low, found.high) == (pytest.approx(share - half, abs=0.003), pytest.approx(share + half, abs=0.003))


def test_the_interval_of_a_paired_difference_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shared = rng.random(300)
        difference = (shared < 0.85).astype(float) - (shared + 0.02 * rng.normal(size=300) < 0.80)
        covered += not Resamples.draw(300, rng=rng, count=200).interval(difference).excludes(0.05)
    assert 0.88 <= covered / 200 <= 0.99


def test_values_of_other_images_are_refused():
    with pytest.raises(InvalidRequestError, match="values of 3 images but resamples of 4; pair systems"):
        Resamples.draw(4, rng=np.random.default_rng(0), count=2).means(np.zeros(3))


def test_too_few_resamples_are_refused():
    with pytest.raises(InvalidRequestError, match="1 resamples of 4 images; give at least 2 and 1"):
        Resamples.draw(4, rng=np.random.default_rng(0), count=1)
