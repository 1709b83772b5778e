"""The 8×8 digits that scikit-learn carries: 1,797 images, no download."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.splits import stratified_parts

TEST_SHARE = 0.2
TEST_SEED = 0


def load(spec: DatasetSpec) -> Dataset:
    """Return the digits; they have no official test part, so a fixed stratified fifth is one."""
    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    test, train = (torch.from_numpy(part) for part in stratified_parts(labels.numpy(), (TEST_SHARE,), seed=TEST_SEED))
    return Dataset(
        name="digits",
        classes=tuple(str(name) for name in bunch.target_names),
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        mean=(0.3053,),
        std=(0.3761,),
        augmentation=Augmentation(pad=1),
    )
