from __future__ import annotations

import numpy as np
import torch

from tests.workers.conftest import random_dataset
from workers.data.augment import augment, batches, normalise
from workers.data.augmentation import Augmentation

IMAGES = random_dataset().train_images


def test_no_augmentation_leaves_images_alone():
    assert torch.equal(augment(IMAGES, Augmentation(), generator=torch.Generator()), IMAGES)


def test_crop_is_a_window_of_the_zero_padded_image():
    cropped = augment(IMAGES, Augmentation(pad=2), generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(IMAGES, [2] * 4)
    for image, original in zip(cropped, padded, strict=True):
        windows = [original[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        assert any(torch.equal(image, window) for window in windows)
    assert not torch.equal(cropped, IMAGES)


def test_flip_mirrors_about_half_of_the_images():
    flipped = augment(IMAGES, Augmentation(flip=True), generator=torch.Generator().manual_seed(0))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, IMAGES, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(flipped, IMAGES, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 15 <= sum(mirrored) <= 45


def test_same_generator_state_gives_the_same_batch():
    spec = Augmentation(pad=2, flip=True)
    one, two = (augment(IMAGES, spec, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def test_normalise_is_what_a_board_computes():
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
    board = (IMAGES[0].permute(1, 2, 0).numpy().astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    ours = normalise(IMAGES[:1], mean, std)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, board, atol=1e-6)


def test_batches_keep_order_and_lay_out_channels_last():
    chunks = list(batches(IMAGES, (0.5,) * 3, (0.25,) * 3, size=25))
    assert [len(chunk) for chunk in chunks] == [25, 25, 10]
    assert all(chunk.is_contiguous(memory_format=torch.channels_last) for chunk in chunks)
    assert torch.equal(torch.cat(chunks), normalise(IMAGES, (0.5,) * 3, (0.25,) * 3))


def test_chosen_images_come_in_their_order_and_only_a_batch_of_them_at_a_time():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    chosen = torch.tensor([7, 1, 4, 4, 0])
    found = list(batches(images, (0.0,), (1.0,), size=2, chosen=chosen))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert torch.equal(torch.cat(found), torch.cat(list(batches(images[chosen], (0.0,), (1.0,), size=5))))
