"""Corrupted test images, for what frozen thresholds do under a shift (EVALUATION protocol, section 2.9 a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from workers.bench.system import SystemOutputs
from workers.data.corruption import CORRUPTIONS, corrupt
from workers.data.dataset import Dataset
from workers.data.splits import Splits

SEVERITIES = (1, 3, 5)
IMAGES = 1000  # of each corruption: an interval of 3 points at 70 %, and 30,000 images for a system


def can_shift(dataset: Dataset) -> bool:
    """Return whether the corruptions are defined for its images."""
    return dataset.channels in (1, 3)


def shifted_test(dataset: Dataset, splits: Splits, *, images: int = IMAGES) -> tuple[Dataset, Splits, tuple[str, ...]]:
    """Return the data set and splits whose test part is every corruption of some test images, and the names in order.

    The first of them is `clean`: the same images as they are. All cells corrupt the same images in the same way.
    """
    chosen = torch.from_numpy(splits.test[_spread(len(splits.test), images)])
    clean, labels = dataset.test_images[chosen], dataset.test_labels[chosen]
    parts = {"clean": clean}
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            parts[f"{name}-{severity}"] = corrupt(clean, name, severity=severity)
    shifted = replace(
        dataset, test_images=torch.cat(list(parts.values())), test_labels=labels.repeat(len(parts)).contiguous()
    )
    return shifted, replace(splits, test=np.arange(len(shifted.test_labels), dtype=np.int64)), tuple(parts)


def shift_parts(outputs: SystemOutputs, names: Sequence[str]) -> dict[str, SystemOutputs]:
    """Return the outputs of each part of `shifted_test`, by name."""
    size = len(outputs.labels) // len(names)
    return {
        name: SystemOutputs(
            logits=outputs.logits[:, index * size : (index + 1) * size],
            labels=outputs.labels[index * size : (index + 1) * size],
        )
        for index, name in enumerate(names)
    }


def _spread(available: int, wanted: int) -> NDArray[np.int64]:
    """Return up to `wanted` evenly spaced positions of `available`."""
    count = min(available, wanted)
    return (np.arange(count, dtype=np.int64) * available) // max(count, 1)
