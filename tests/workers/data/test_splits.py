from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.conftest import random_dataset
from workers.data.splits import Splits

LABELS = np.arange(1000, dtype=np.int64) % 10
GOLDEN = {
    "weights": "9b1abf7b101c7914",
    "validation": "b527ad144ee3ac24",
    "calibration": "b8d588f1bcc87b75",
    "test": "c202d9cfc7858fd4",
}


def test_train_part_is_split_80_10_10_without_overlap():
    splits = Splits.make(LABELS, test_size=50, seed=0)
    assert (len(splits.weights), len(splits.validation), len(splits.calibration)) == (800, 100, 100)
    everything = np.concatenate([splits.weights, splits.validation, splits.calibration])
    assert sorted(everything.tolist()) == list(range(1000))


@pytest.mark.parametrize("name", ["weights", "validation", "calibration"])
def test_every_class_has_its_share_in_every_split(name):
    part = getattr(Splits.make(LABELS, test_size=50, seed=3), name)
    assert set(np.bincount(LABELS[part]).tolist()) == {len(part) // 10}


def test_test_split_is_the_whole_official_test_part():
    assert Splits.make(LABELS, test_size=50, seed=0).test.tolist() == list(range(50))


def test_hashes_are_those_of_every_machine_and_version():
    assert {name: digest[:16] for name, digest in Splits.make(LABELS, test_size=50, seed=0).hashes.items()} == GOLDEN


def test_another_seed_draws_other_splits():
    one, other = (Splits.make(LABELS, test_size=50, seed=seed).hashes for seed in (0, 1))
    assert one["test"] == other["test"]
    assert all(one[name] != other[name] for name in ("weights", "validation", "calibration"))


def test_train_fraction_shrinks_only_the_weights_split():
    whole, part = (Splits.make(LABELS, test_size=50, seed=0, train_fraction=f) for f in (1.0, 0.25))
    assert len(part.weights) == 200
    assert set(part.weights) <= set(whole.weights)
    assert part.hashes["validation"] == whole.hashes["validation"]
    assert part.hashes["calibration"] == whole.hashes["calibration"]


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_train_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(InvalidRequestError, match=r"train_fraction is .* but must lie in \(0, 1\]"):
        Splits.make(LABELS, test_size=1, seed=0, train_fraction=fraction)


def test_class_with_too_few_images_is_named():
    labels = np.concatenate([LABELS, np.full(2, 10)])
    with pytest.raises(
        InvalidRequestError, match=r"class 10 has no image in the .* split; every class needs at least 10"
    ):
        Splits.make(labels, test_size=1, seed=0)


def test_of_large_sets_ten_thousand_images_each_are_held_out():
    dataset = random_dataset(count=150_000, channels=1, side=1)
    splits = Splits.of(dataset, seed=0)
    assert [len(splits.validation), len(splits.calibration)] == pytest.approx([10_000, 10_000], abs=3)
    assert len(splits.weights) == pytest.approx(130_000, abs=6)
