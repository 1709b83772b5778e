from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from workers.data.prior import easy_and_hard, skewed

LABELS = np.arange(1000) % 10


def shares(indices: np.ndarray) -> np.ndarray:
    return np.bincount(LABELS[indices], minlength=10) / len(indices)


@pytest.mark.parametrize("size", [1, 7, 100, 500, 999, 1000])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_no_image_comes_twice_and_the_size_is_met(size, alpha):
    indices = skewed(LABELS, alpha=alpha, seed=0, size=size)
    assert len(indices) == len(set(indices.tolist())) == size
    assert (np.diff(indices) > 0).all()


def test_a_small_alpha_skews_more_than_a_large_one():
    def spread(alpha: float) -> float:
        return float(np.mean([shares(skewed(LABELS, alpha=alpha, seed=s, size=100)).max() for s in range(20)]))

    assert spread(0.1) > spread(1.0) > spread(10.0) > 0.1


def test_the_prior_is_kept_as_drawn_while_every_class_has_enough():
    prior = np.random.default_rng(3).dirichlet(np.full(10, 1.0))
    np.testing.assert_allclose(shares(skewed(LABELS, alpha=1.0, seed=3, size=100)), prior, atol=0.0101)


def test_a_class_that_runs_out_gives_all_it_has():
    indices = skewed(LABELS, alpha=0.05, seed=0, size=400)
    counts = np.bincount(LABELS[indices], minlength=10)
    assert counts.max() == 100
    assert counts.sum() == 400


def test_the_seed_decides():
    one, same, other = (skewed(LABELS, alpha=1.0, seed=s, size=100) for s in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, r"alpha is 0 but must be above 0; 0.1 is strong, 1 mild"),
        ({"size": 0}, r"size is 0 but must lie in 1\.\.1000, the images there are"),
        ({"size": 1001}, r"size is 1001 but must lie in 1\.\.1000"),
    ],
)
def test_a_prior_that_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(InvalidRequestError, match=message):
        skewed(LABELS, **{"alpha": 1.0, "seed": 0, "size": 10, **change})


def test_easy_images_have_the_lowest_losses_and_hard_ones_the_highest():
    losses = np.array([0.3, 0.1, 0.9, 0.5, 0.2, 0.7])
    easy, hard = easy_and_hard(losses, share=1 / 3)
    assert (easy.tolist(), hard.tolist()) == ([1, 4], [2, 5])


def test_within_classes_the_prior_stays():
    losses = np.where(LABELS < 5, 0.0, 1.0) + np.random.default_rng(0).random(1000) / 10
    easy, hard = easy_and_hard(losses, labels=LABELS, share=0.5)
    assert np.bincount(LABELS[easy]).tolist() == np.bincount(LABELS[hard]).tolist() == [50] * 10
    assert not set(easy.tolist()) & set(hard.tolist())


@pytest.mark.parametrize(
    ("losses", "change", "message"),
    [
        (np.zeros(4), {"share": 0.6}, r"share is 0.6 but must lie in \(0, 0.5\]"),
        (np.array([0.0, np.nan]), {}, r"1 losses are no numbers; use another reference"),
        (np.zeros(4), {"labels": np.zeros(3, int)}, r"there are 4 losses but 3 labels; give one for each"),
    ],
)
def test_difficulties_that_cannot_be_split_are_refused(losses, change, message):
    with pytest.raises(InvalidRequestError, match=message):
        easy_and_hard(losses, **change)
