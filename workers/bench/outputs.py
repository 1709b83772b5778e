"""Running finished nets over one split, batch by batch, in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.bench.system import OUTPUT_SPLITS, SystemOutputs
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import BATCH, EvaluationData, recalibrate
from workers.network import Pair

Forward = Callable[[Tensor], Sequence[Tensor]]


def part_of(dataset: Dataset, splits: Splits, split: str) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Return all uint8 images, the indices of `validation`, `calibration` or `test` in them, and the labels there."""
    if split not in OUTPUT_SPLITS:
        raise InvalidRequestError(f"outputs of split {split!r}; choose one of: {', '.join(OUTPUT_SPLITS)}")
    chosen = torch.from_numpy(getattr(splits, split))
    if split == "test":
        return dataset.test_images, chosen, dataset.test_labels[chosen].numpy()
    return dataset.train_images, chosen, dataset.train_labels[chosen].numpy()


def run_exits(forward: Forward, dataset: Dataset, splits: Splits, split: str) -> SystemOutputs:
    """Return the logits of every exit that `forward` gives for normalised images (N, C, H, W), in order."""
    images, chosen, labels = part_of(dataset, splits, split)
    with torch.inference_mode():
        found = [
            torch.stack([logits.float() for logits in forward(batch)])
            for batch in batches(images, dataset.mean, dataset.std, size=BATCH, chosen=chosen)
        ]
    return SystemOutputs(logits=torch.cat(found, dim=1).cpu().numpy(), labels=labels)


def recalibrated(pair: Pair, dataset: Dataset, splits: Splits) -> Pair:
    """Return the pair with its BatchNorm statistics taken from the weights split, in eval mode."""
    data = EvaluationData.of(dataset, splits, limit=1)
    recalibrate(pair, batches(data.recalibration, data.mean, data.std, size=BATCH))
    return pair


def without_test(dataset: Dataset) -> Dataset:
    """Return the data set with one blank image for a test part: what is given this cannot see a test image."""
    return replace(
        dataset,
        test_images=torch.zeros_like(dataset.test_images[:1]),
        test_labels=torch.zeros_like(dataset.test_labels[:1]),
    )
