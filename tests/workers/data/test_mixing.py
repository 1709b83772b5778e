from __future__ import annotations

import pytest
import torch

from workers.data.augmentation import Augmentation
from workers.data.mixing import mix

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 4
NEIGHBOURS = LABELS.roll(1, 0)


def mixed(spec: Augmentation, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return mix(IMAGES, LABELS, classes=4, spec=spec, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spec", [Augmentation(mixup=1.0), Augmentation(cutmix=1.0)])
def test_targets_hold_the_shares_of_both_labels(spec):
    images, targets = mixed(spec)
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    rows = torch.arange(16)
    torch.testing.assert_close(targets[rows, LABELS] + targets[rows, NEIGHBOURS], torch.ones(16))
    assert images.shape == IMAGES.shape
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_mixup_blends_with_the_share_that_the_targets_say():
    images, targets = mixed(Augmentation(mixup=1.0))
    share = targets[0, LABELS[0]]
    torch.testing.assert_close(images, share * IMAGES + (1 - share) * IMAGES.roll(1, 0))


def test_cutmix_takes_the_share_of_pixels_that_the_targets_say():
    images, targets = mixed(Augmentation(cutmix=1.0))
    foreign = (images == IMAGES.roll(1, 0)).all(1)
    assert torch.equal(images, torch.where(foreign[:, None], IMAGES.roll(1, 0), IMAGES))
    torch.testing.assert_close(foreign.float().mean((1, 2)), targets[torch.arange(16), NEIGHBOURS])


def test_with_both_every_batch_takes_one_of_them_about_equally_often():
    both = Augmentation(mixup=1.0, cutmix=1.0)
    foreign = IMAGES.roll(1, 0)
    cut = 0
    for seed in range(60):
        images, _ = mixed(both, seed)
        cut += bool(((images == IMAGES) | (images == foreign)).all())
    assert 20 <= cut <= 40


def test_same_generator_state_gives_the_same_batch():
    for spec in (Augmentation(mixup=0.2), Augmentation(cutmix=1.0)):
        assert all(torch.equal(a, b) for a, b in zip(mixed(spec, 5), mixed(spec, 5), strict=True))
        assert not torch.equal(mixed(spec, 5)[0], mixed(spec, 6)[0])
