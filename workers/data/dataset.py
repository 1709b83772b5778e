"""A data set of small images, whole in memory as bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.data.augmentation import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """Which data set to load, and from where.

    Attributes:
        name: A key of `workers.data.loading.LOADERS`, or `package.module:function`, a loader of the user's own.
        root: Its folder; `digits` is packaged and needs none.
        cache: A folder in which decoded images may be kept, for sets that are slow to decode; None keeps nothing.
        download: Whether torchvision may download what is missing.
        image_column: Parquet: the image column's name; None finds the one of struct type {bytes, path}.
        label_column: Parquet: the label column's name; None finds the one integer column.
        resolution: Side in pixels to which images of folders and Parquet files are resized and cropped; None takes the
            loader's own, which for Parquet is what is stored.
        augmentation: Values of `Augmentation` to use instead of the data set's own, by name.
    """

    name: str
    root: str | None = None
    cache: str | None = None
    download: bool = False
    image_column: str | None = None
    label_column: str | None = None
    resolution: int | None = None
    augmentation: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-able data, the exact inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DatasetSpec:
        """Return the specification in `data`; InvalidRequestError for unknown keys."""
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise InvalidRequestError(
                f"unknown data set key {unknown[0]!r}; choose from: {', '.join(f.name for f in fields(cls))}"
            )
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Images and labels of both official parts; the test part is for finished systems only.

    Attributes:
        name: What it is called in reports.
        classes: Class names by label.
        train_images: (N, C, H, H) uint8.
        train_labels: (N,) int64.
        test_images: (M, C, H, H) uint8.
        test_labels: (M,) int64.
        mean: Per channel, of values in [0, 1].
        std: Per channel, above 0.
        augmentation: What training does to its images.
    """

    name: str
    classes: tuple[str, ...]
    train_images: Tensor = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor = field(repr=False)
    test_labels: Tensor = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check_part(part, getattr(self, f"{part}_images"), getattr(self, f"{part}_labels"))
        if len(self.classes) < 2 or len(self.train_labels.unique()) < 2:
            raise InvalidRequestError(
                f"data set {self.name!r} has {len(self.train_labels.unique())} class; a classifier needs at least 2"
            )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InvalidRequestError(
                f"data set {self.name!r} has train images {tuple(self.train_images.shape[1:])} but test images "
                f"{tuple(self.test_images.shape[1:])}; make them equal"
            )
        if not len(self.mean) == len(self.std) == self.channels or min(self.std) <= 0:
            raise InvalidRequestError(f"mean {self.mean} and std {self.std} need {self.channels} values, std above 0")
        if self.augmentation.randaugment and self.channels not in (1, 3):
            raise InvalidRequestError(
                f"randaugment is {self.augmentation.randaugment} but images of {self.name!r} have {self.channels} "
                "channels; it knows grey and RGB images only, so set it to 0"
            )

    def _check_part(self, part: str, images: Tensor, labels: Tensor) -> None:
        if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[2] != images.shape[3]:
            raise InvalidRequestError(
                f"{part} images of {self.name!r} are {images.dtype} {tuple(images.shape)} but must be square, uint8, "
                "(N, C, H, H); resize or crop them"
            )
        if labels.dtype != torch.int64 or len(labels) != len(images) or not len(labels):
            raise InvalidRequestError(
                f"{self.name!r} has {len(images)} {part} images and {len(labels)} labels ({labels.dtype}); give one "
                "int64 label for every image, and at least one"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
            raise InvalidRequestError(
                f"{part} labels of {self.name!r} run from {int(labels.min())} to {int(labels.max())} but must lie in "
                f"0..{len(self.classes) - 1}"
            )

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return int(self.train_images.shape[1])

    @property
    def resolution(self) -> int:
        """Side of an image, in pixels."""
        return int(self.train_images.shape[2])


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of (N, C, H, W) uint8 images scaled to [0, 1], to 4 digits."""
    counts = torch.stack(
        [torch.bincount(images[:, c].reshape(-1).int(), minlength=256) for c in range(images.shape[1])]
    )
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = (share * values).sum(1)
    std = ((share * values**2).sum(1) - mean**2).clamp_min(1e-8).sqrt()
    return tuple(round(float(m), 4) for m in mean), tuple(max(round(float(s), 4), 1e-4) for s in std)
