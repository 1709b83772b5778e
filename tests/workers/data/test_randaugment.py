from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import RandAugment

from tests.workers.conftest import random_dataset
from workers.data.randaugment import BINS, OPERATIONS, SIGNED, randaugment

IMAGES = random_dataset(side=32, count=40).train_images
NAMES = list(RandAugment._AUGMENTATION_SPACE)


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize(("kind", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_an_operation_is_torchvisions_at_the_same_magnitude(kind, name, magnitude):
    theirs = RandAugment()
    strengths, signed = RandAugment._AUGMENTATION_SPACE[name]
    table = strengths(BINS, 32, 32)
    strength = 0.0 if table is None else float(table[magnitude])
    for sign in (1, -1) if signed else (1,):
        expected = theirs._apply_image_or_video_transform(
            IMAGES, name, sign * strength, interpolation=theirs.interpolation, fill=theirs._fill
        )
        ours = OPERATIONS[kind](IMAGES, sign * magnitude / (BINS - 1))
        assert (ours.int() - expected.int()).abs().max() <= 1  # their strengths are float32, and bytes are cut off


def test_the_operations_that_have_a_sign_come_first():
    signed = [signed for _, signed in RandAugment._AUGMENTATION_SPACE.values()]
    assert signed[0] is False  # nothing is done
    assert signed[1:] == [True] * (SIGNED - 1) + [False] * (len(NAMES) - SIGNED)


def test_every_image_draws_its_own_operation():
    alike = IMAGES[:1].expand(40, -1, -1, -1)
    changed = randaugment(alike, operations=1, magnitude=15, generator=torch.Generator().manual_seed(0))
    kinds = {tuple(image.flatten().tolist()) for image in changed}
    assert 10 <= len(kinds) <= 24
    candidates = torch.stack([op(alike[:1], sign * 0.5)[0] for op in OPERATIONS for sign in (1, -1)])
    assert all((candidates == image).flatten(1).all(1).any() for image in changed)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_images_keep_shape_and_type_and_the_original(channels):
    images = random_dataset(channels=channels, side=28).train_images
    before = images.clone()
    changed = randaugment(images, operations=2, magnitude=9, generator=torch.Generator().manual_seed(0))
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)


def test_same_generator_state_gives_the_same_images():
    one, two = (
        randaugment(IMAGES, operations=2, magnitude=9, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, two)
