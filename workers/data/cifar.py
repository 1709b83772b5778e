"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), as torchvision stores and downloads them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from nas_service.errors import InvalidRequestError
from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec

AUGMENTATION = Augmentation(pad=4, flip=True)


def load_cifar10(spec: DatasetSpec) -> Dataset:
    """Return CIFAR-10 under `spec.root`; InvalidRequestError if it is missing or damaged."""
    return _load(spec, CIFAR10, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


def load_cifar100(spec: DatasetSpec) -> Dataset:
    """Return CIFAR-100 under `spec.root`; InvalidRequestError if it is missing or damaged."""
    return _load(spec, CIFAR100, mean=(0.5071, 0.4866, 0.4409), std=(0.2673, 0.2564, 0.2762))


def _load(spec: DatasetSpec, kind: type[CIFAR10], *, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    if spec.root is None:
        raise InvalidRequestError(f"data set {spec.name} needs a root; give the folder that holds {kind.base_folder}")
    root = Path(spec.root).expanduser()
    try:
        train, test = (kind(str(root), train=part, download=spec.download) for part in (True, False))
    except (RuntimeError, OSError, EOFError) as error:
        raise InvalidRequestError(
            f"{root} has no whole {kind.base_folder}: {str(error).splitlines()[0]}; put torchvision's files there, "
            "allow the download, or use data set parquet for Parquet files"
        ) from None
    return Dataset(
        name=spec.name,
        classes=tuple(train.classes),
        train_images=_images(train),
        train_labels=torch.tensor(train.targets, dtype=torch.int64),
        test_images=_images(test),
        test_labels=torch.tensor(test.targets, dtype=torch.int64),
        mean=mean,
        std=std,
        augmentation=AUGMENTATION,
    )


def _images(part: CIFAR10) -> Tensor:
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
