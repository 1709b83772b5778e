from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas_service.errors import InvalidRequestError
from tests.workers.conftest import random_dataset
from workers.data.augmentation import Augmentation
from workers.data.dataset import DatasetSpec
from workers.data.loading import load


def test_everything_is_off_by_default():
    assert Augmentation() == Augmentation(pad=0, flip=False, randaugment=0, mixup=0.0, cutmix=0.0)
    assert not Augmentation().mixes


@pytest.mark.parametrize("change", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_mixup_and_cutmix_mix(change):
    assert Augmentation(**change).mixes


def test_a_change_replaces_what_it_names_and_nothing_else():
    assert Augmentation(pad=4, flip=True).changed({"randaugment": 2}) == Augmentation(pad=4, flip=True, randaugment=2)
    assert Augmentation(pad=4).changed(None) == Augmentation(pad=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad": -1}, "pad is -1 but must be at least 0; 0 turns it off"),
        ({"randaugment": -1}, "randaugment is -1 but must be at least 0"),
        ({"mixup": float("nan")}, "mixup is nan but must be at least 0"),
        ({"cutmix": float("inf")}, "cutmix is inf but must be at least 0"),
        ({"magnitude": 31}, r"magnitude is 31 but must lie in 0\.\.30; 9 is usual"),
        ({"cutout": 8}, "unknown augmentation key 'cutout'; choose from: pad, flip, randaugment, magnitude, mixup"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(InvalidRequestError, match=message):
        Augmentation().changed(change)


def test_a_specification_changes_the_augmentation_of_its_data_set():
    dataset = load(DatasetSpec(name="digits", augmentation={"mixup": 0.2}))
    assert dataset.augmentation == Augmentation(pad=1, mixup=0.2)


def test_randaugment_needs_grey_or_colour_images():
    dataset = random_dataset(channels=2)
    with pytest.raises(InvalidRequestError, match="images of 'random' have 2 channels; it knows grey and RGB"):
        replace(dataset, augmentation=Augmentation(randaugment=1))


def test_drawing_leaves_the_global_generator_alone():
    from workers.data.augment import augment
    from workers.data.mixing import mix

    images, before = random_dataset().train_images, torch.get_rng_state()
    spec, generator = Augmentation(pad=1, flip=True, randaugment=2, mixup=0.2, cutmix=1.0), torch.Generator()
    floats = augment(images, spec, generator=generator).float()
    mix(floats, torch.arange(60) % 3, classes=3, spec=spec, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)
