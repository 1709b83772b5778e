"""Image sets as folders of files, ImageNet among them; the layouts are those of `nas_service.image_folder`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas_service.errors import InvalidRequestError
from nas_service.image_folder import ImageFolder
from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec, channel_statistics
from workers.data.decode import decode
from workers.data.pixel_cache import decoded
from workers.data.splits import stratified_parts

FOLDER_SIDE = 96
IMAGENET_SIDE = 224
IMAGENET_MARGIN = 256 / 224  # as is usual: shorter side 256, centre of 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEST_SHARE, TEST_SEED = 0.2, 0
PAD_SHARE = 1 / 8
STATISTICS_IMAGES = 2000
CHANNELS = 3

Files = list[tuple[Path, int]]


def load_folder(spec: DatasetSpec) -> Dataset:
    """Return the images under `spec.root` as RGB squares; without parts, a fixed stratified fifth is the test part.

    Raises:
        InvalidRequestError: the layout is not one that is known, or an image cannot be read; it names the path.
    """
    folder = ImageFolder.find(_root(spec))
    side = spec.resolution or FOLDER_SIDE
    train = list(folder.images(folder.train))
    if folder.test is not None:
        images, labels, count = *_read(spec, folder, [*train, *folder.images(folder.test)], side, 1.0), len(train)
        parts = _slices(images, labels, count)
    else:
        images, labels = _read(spec, folder, train, side, 1.0)
        test, rest = (torch.from_numpy(p) for p in stratified_parts(labels.numpy(), (TEST_SHARE,), seed=TEST_SEED))
        parts = images[rest], labels[rest], images[test], labels[test]
    mean, std = channel_statistics(_sample(parts[0]))
    return _dataset(spec, folder, parts, mean=mean, std=std)


def load_imagenet(spec: DatasetSpec) -> Dataset:
    """Return ImageNet, or a set laid out like it: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.

    Raises:
        InvalidRequestError: as `load_folder`.
    """
    folder = ImageFolder.find(_root(spec), test_names=("val",))
    if folder.test is None:
        raise InvalidRequestError(f"{folder.root} has neither train/ nor val/; use data set folder for classes alone")
    train = list(folder.images(folder.train))
    files = [*train, *folder.images(folder.test)]
    images, labels = _read(spec, folder, files, spec.resolution or IMAGENET_SIDE, IMAGENET_MARGIN)
    return _dataset(spec, folder, _slices(images, labels, len(train)), mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _root(spec: DatasetSpec) -> Path:
    if spec.root is None:
        raise InvalidRequestError(f"data set {spec.name} needs a root; give the folder that holds train/ and val/")
    return Path(spec.root).expanduser()


def _read(spec: DatasetSpec, folder: ImageFolder, files: Files, side: int, margin: float) -> tuple[Tensor, Tensor]:
    """Return the images and labels of all files, in their order."""
    cache = None if spec.cache is None else Path(spec.cache).expanduser() / _key(folder, files, side, margin)
    images = decoded(
        len(files),
        (CHANNELS, side, side),
        lambda i: decode(files[i][0], str(files[i][0]), side=side, margin=margin, mode="RGB"),
        cache=cache,
        what=f"{len(files)} images of {folder.root}",
    )
    return images, torch.tensor([label for _, label in files], dtype=torch.int64)


def _key(folder: ImageFolder, files: Files, side: int, margin: float) -> str:
    """Return a name that changes with the files' names, sizes and times, and with what is made of them."""
    digest = hashlib.sha256(f"{folder.root}\n{side}\n{margin}".encode())
    for path, label in files:
        stat = path.stat()
        digest.update(f"\n{label}\t{path}\t{stat.st_size}\t{stat.st_mtime_ns}".encode(errors="surrogateescape"))
    return f"folder-{digest.hexdigest()[:32]}"


def _slices(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return images[:count], labels[:count], images[count:], labels[count:]  # views, so that a mapped file stays one


def _sample(images: Tensor) -> Tensor:
    chosen = np.linspace(0, len(images) - 1, min(len(images), STATISTICS_IMAGES)).round().astype(np.int64)
    return images[torch.from_numpy(chosen)]


def _dataset(
    spec: DatasetSpec,
    folder: ImageFolder,
    parts: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    return Dataset(
        name=spec.name,
        classes=folder.classes,
        train_images=parts[0],
        train_labels=parts[1],
        test_images=parts[2],
        test_labels=parts[3],
        mean=mean,
        std=std,
        augmentation=Augmentation(pad=round(parts[0].shape[2] * PAD_SHARE), flip=True),
    )
