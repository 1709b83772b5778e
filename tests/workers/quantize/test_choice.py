"""Which int8 form is shipped, and that neither test images nor luck decide it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from tests.workers.conftest import space_of
from tests.workers.test_export import calibrated
from workers.quantize.choice import Attempt, Int8Config, choose_int8, spread
from workers.quantize.qat import QatConfig

pytestmark = pytest.mark.slow

BAD = ("percentile-80",)
QUICK = QatConfig(batch_size=32)


@pytest.fixture
def pair():
    space = space_of("micro")
    return calibrated(space, space.plan(space.extreme("stem", largest=True)))[0]


def test_the_best_attempt_on_validation_images_is_chosen(pair, small):
    found = choose_int8(pair, *small, config=Int8Config(methods=("minmax", "percentile-80"), qat=None))
    assert [a.method for a in found.attempts] == ["minmax", "percentile-80"]
    assert found.chosen.rank() == max(a.rank() for a in found.attempts)
    assert found.attempts[0].distance < found.attempts[1].distance
    assert (found.pair, found.images) == (pair, len(small[1].validation))


@pytest.mark.parametrize(("allowed", "tried"), [(1.0, False), (0.0, True)])
def test_fine_tuning_is_tried_only_where_rounding_costs_more_than_is_allowed(pair, small, allowed, tried):
    dataset, splits = small
    if tried:  # labels that the float pair alone answers rightly
        with torch.inference_mode():
            answers = pair((dataset.train_images / 255 - dataset.mean[0]) / dataset.std[0])[1].argmax(1)
        dataset = replace(dataset, train_labels=answers)
    found = choose_int8(pair, dataset, splits, config=Int8Config(methods=BAD, qat=QUICK, allowed_loss=allowed))
    assert ("fine-tuned" in {a.weights for a in found.attempts}) is tried
    assert found.chosen.rank() == max(a.rank() for a in found.attempts)
    assert (found.pair is pair) == (found.chosen.weights == "as trained")


def test_fine_tuning_that_fails_leaves_the_weights_and_says_so(pair, small):
    dataset, splits = small
    with torch.inference_mode():
        answers = pair((dataset.train_images / 255 - dataset.mean[0]) / dataset.std[0])[1].argmax(1)
    wild = QatConfig(learning_rate=1e30, clip_norm=1e30, batch_size=16)
    found = choose_int8(
        pair, replace(dataset, train_labels=answers), splits, config=Int8Config(methods=BAD, qat=wild, allowed_loss=0.0)
    )
    assert found.chosen.weights == "as trained"
    assert "fine-tuning for int8 failed, the weights stay as trained" in found.notes[0]


def test_of_two_that_are_right_as_often_the_closer_to_float_wins():
    def attempt(distance: float) -> Attempt:
        return Attempt(models=None, weights="as trained", method="minmax", little=0.7, big=0.9, distance=distance)

    assert attempt(0.1).rank() > attempt(0.2).rank()


def test_a_pair_that_gives_no_numbers_is_refused(pair, small):
    with torch.no_grad():
        pair.little.head.bias.fill_(torch.nan)
    with pytest.raises(InvalidRequestError, match=r"little_logits of 143 of 143 images are not finite; train again"):
        choose_int8(pair, *small)


def test_an_empty_calibration_split_is_refused(pair, small):
    dataset, splits = small
    empty = replace(splits, calibration=np.zeros(0, dtype=np.int64))
    with pytest.raises(InvalidRequestError, match="the calibration split is empty; quantising needs images"):
        choose_int8(pair, dataset, empty)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, "methods is empty; give at least one of: minmax"),
        ({"allowed_loss": -0.1}, r"allowed_loss is -0.1 but must lie in \[0, 1\]"),
        ({"calibration_images": 0}, "calibration_images is 0 and validation_images 2000 but both must be at least 1"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(changes, message):
    with pytest.raises(InvalidRequestError, match=message):
        Int8Config(**changes)


@pytest.mark.parametrize(
    ("limit", "expected"), [(2, [0, 5]), (4, [0, 2, 5, 7]), (10, list(range(10))), (99, list(range(10)))]
)
def test_images_are_spread_evenly(limit, expected):
    assert spread(np.arange(10), limit).tolist() == expected
