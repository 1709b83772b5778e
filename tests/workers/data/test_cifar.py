"""CIFAR-10 and CIFAR-100 from files in torchvision's own layout, read by torchvision itself.

Only its checksums are these files'.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.presets import TINY
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_FILE = 20


def write(path: Path, content: dict[str, object]) -> str:
    """Write one of torchvision's files and return its MD5."""
    data = pickle.dumps(content, protocol=2)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Six batch files of twenty images each; returns the (20, 3, 32, 32) images by file name."""
    folder, rng = tmp_path / CIFAR10.base_folder, np.random.default_rng(0)
    folder.mkdir()
    held = {name: rng.integers(0, 256, (PER_FILE, 3, 32, 32), dtype=np.uint8)
            for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]}  # fmt: skip
    sums = {
        name: write(folder / name, {"data": batch.reshape(PER_FILE, -1), "labels": [i % 10 for i in range(PER_FILE)]})
        for name, batch in held.items()
    }
    meta = {**CIFAR10.meta, "md5": write(folder / "batches.meta", {"label_names": list(NAMES)})}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, sums[name]] for name, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return held


def test_images_labels_and_names_are_what_the_files_hold(tmp_path, images):
    dataset = load(DatasetSpec(name="cifar10", root=str(tmp_path)))
    assert dataset.classes == NAMES
    assert (dataset.channels, dataset.resolution) == (3, 32)
    train = np.concatenate([images[f"data_batch_{i}"] for i in range(1, 6)])
    assert torch.equal(dataset.train_images, torch.from_numpy(train))
    assert torch.equal(dataset.test_images, torch.from_numpy(images["test_batch"]))
    assert dataset.train_labels.tolist() == [i % 10 for i in range(PER_FILE)] * 5


def test_a_damaged_file_is_refused_saying_what_to_do(tmp_path, images):
    damaged = tmp_path / CIFAR10.base_folder / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InvalidRequestError, match=r"has no whole cifar-10-batches-py.*put torchvision's files there"):
        load(DatasetSpec(name="cifar10", root=str(tmp_path)))


@pytest.fixture
def hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Two files of two hundred images, two of each fine class; returns the images by file name."""
    folder, rng = tmp_path / CIFAR100.base_folder, np.random.default_rng(0)
    folder.mkdir()
    held = {name: rng.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8) for name in ("train", "test")}
    fine = [i % 100 for i in range(200)]
    sums = {
        name: write(
            folder / name,
            {"data": batch.reshape(200, -1), "fine_labels": fine, "coarse_labels": [label // 5 for label in fine]},
        )
        for name, batch in held.items()
    }
    names = [f"fine-{i}" for i in range(100)]
    meta = write(folder / "meta", {"fine_label_names": names, "coarse_label_names": [f"coarse-{i}" for i in range(20)]})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": meta})
    return held


def test_cifar100_has_its_hundred_fine_classes(tmp_path, hundred):
    dataset = load(DatasetSpec(name="cifar100", root=str(tmp_path)))
    assert dataset.classes == tuple(f"fine-{i}" for i in range(100))
    assert torch.equal(dataset.train_images, torch.from_numpy(hundred["train"]))
    assert dataset.test_labels.tolist() == [*range(100), *range(100)]
    assert (dataset.mean, dataset.augmentation.pad) == ((0.5071, 0.4866, 0.4409), 4)


@pytest.mark.slow
def test_a_pair_of_a_hundred_classes_learns_from_cifar100(tmp_path, hundred):
    dataset = load(DatasetSpec(name="cifar100", root=str(tmp_path), augmentation={"mixup": 0.2, "cutmix": 1.0}))
    everything = np.arange(200)
    splits = Splits(weights=everything, validation=everything, calibration=everything, test=everything)
    supernet = Supernet(PairSpace(TINY, channels=3, resolution=32, classes=100))
    (report,) = train(supernet, dataset, splits, TrainConfig(epochs=1, batch_size=100))
    assert 0 < report.losses["loss"] < 10
