"""Fashion-MNIST (Xiao et al., 2017): from torchvision's folder, or the four IDX files themselves."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.datasets import FashionMNIST

from nas_service.errors import InvalidRequestError
from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def load(spec: DatasetSpec) -> Dataset:
    """Return Fashion-MNIST under `spec.root`: torchvision's layout, or a folder with the IDX files, gzipped or not.

    Raises:
        InvalidRequestError: no such folder, a file is missing, or a file is damaged.
    """
    if spec.root is None:
        raise InvalidRequestError("data set fashion_mnist needs a root; give the folder that holds it")
    root = Path(spec.root).expanduser()
    if spec.download:
        FashionMNIST(str(root), download=True)
    folders = (root, root / "FashionMNIST" / "raw")
    folder = next((f for f in folders if _find(f, FILES["train_images"]) is not None), None)
    if folder is None:
        raise InvalidRequestError(
            f"{root} has no {FILES['train_images']}[.gz], nor has its FashionMNIST/raw; give the folder with the four "
            "IDX files (Debian's package dataset-fashion-mnist has them), or let torchvision download them"
        )
    arrays = {name: read_idx(_required(folder, file)) for name, file in FILES.items()}
    return Dataset(
        name="fashion_mnist",
        classes=CLASSES,
        train_images=torch.from_numpy(arrays["train_images"]).unsqueeze(1),
        train_labels=torch.from_numpy(arrays["train_labels"].astype(np.int64)),
        test_images=torch.from_numpy(arrays["test_images"]).unsqueeze(1),
        test_labels=torch.from_numpy(arrays["test_labels"].astype(np.int64)),
        mean=(0.2860,),
        std=(0.3530,),
        augmentation=Augmentation(pad=2, flip=True),
    )


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _required(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise InvalidRequestError(f"{folder} has no {name}[.gz]; all of {', '.join(FILES.values())} are needed")
    return path


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of bytes, gzipped or not; InvalidRequestError if it is damaged."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise InvalidRequestError(f"{path} cannot be read: {error}; fetch it again") from None
    dimensions = raw[3] if len(raw) >= 4 and raw[:3] == b"\x00\x00\x08" else 0
    shape = (
        tuple(np.frombuffer(raw, ">u4", count=dimensions, offset=4).tolist()) if len(raw) > 4 + 4 * dimensions else ()
    )
    begin = 4 + 4 * dimensions
    if not shape or len(raw) - begin != int(np.prod(shape)):
        raise InvalidRequestError(f"{path} is no whole IDX file of bytes ({len(raw)} bytes); fetch it again")
    return np.frombuffer(raw, np.uint8, offset=begin).reshape(shape).copy()
