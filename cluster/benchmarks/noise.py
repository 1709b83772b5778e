"""A data set of noise in CIFAR-10's shape, for timing: what images show does not change how long they take."""

from __future__ import annotations

import torch

from workers.data.dataset import Dataset, DatasetSpec

TRAIN, TEST, CLASSES = 25_000, 1_000, 10  # a fifth of the first, 5,000 images, is what a search scores on


def load(spec: DatasetSpec) -> Dataset:
    """Return the same noise each time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (TRAIN + TEST, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(TRAIN + TEST) % CLASSES
    return Dataset(
        name="noise",
        classes=tuple(map(str, range(CLASSES))),
        train_images=images[:TRAIN],
        train_labels=labels[:TRAIN],
        test_images=images[TRAIN:],
        test_labels=labels[TRAIN:],
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
