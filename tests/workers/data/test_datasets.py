from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from tests.workers.conftest import random_dataset
from workers.data.dataset import DatasetSpec, channel_statistics
from workers.data.fashion_mnist import FILES
from workers.data.loading import load


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_fashion(folder, *, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, file in FILES.items():
        array = rng.integers(0, 256, (20, 28, 28)) if name.endswith("images") else np.arange(20) % 10
        data = idx(array)
        (folder / (f"{file}.gz" if zipped else file)).write_bytes(gzip.compress(data) if zipped else data)


def test_digits_are_eight_by_eight_bytes_of_ten_classes(digits):
    assert digits.train_images.shape[1:] == digits.test_images.shape[1:] == (1, 8, 8)
    assert len(digits.train_images) + len(digits.test_images) == 1797
    assert digits.train_images.max() == 255
    assert not digits.augmentation.flip


def test_digits_test_part_holds_a_fifth_of_every_class(digits):
    train, test = (torch.bincount(labels) for labels in (digits.train_labels, digits.test_labels))
    torch.testing.assert_close(test / (train + test), torch.full((10,), 0.2), atol=0.01, rtol=0)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_fashion_mnist_is_read_from_idx_files(tmp_path, zipped, below):
    write_fashion(tmp_path / below, zipped=zipped)
    dataset = load(DatasetSpec(name="fashion_mnist", root=str(tmp_path)))
    assert dataset.train_images.shape == (20, 1, 28, 28)
    assert dataset.test_labels.tolist() == [i % 10 for i in range(20)]
    assert dataset.classes[9] == "Ankle boot"


def test_fashion_mnist_missing_file_is_named(tmp_path):
    write_fashion(tmp_path, zipped=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InvalidRequestError, match=r"has no t10k-labels-idx1-ubyte\[.gz\]"):
        load(DatasetSpec(name="fashion_mnist", root=str(tmp_path)))


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_truncated_file_is_named(tmp_path, zipped):
    write_fashion(tmp_path, zipped=zipped)
    path = next(tmp_path.glob("train-images*"))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InvalidRequestError, match=r"train-images-idx3-ubyte.*fetch it again"):
        load(DatasetSpec(name="fashion_mnist", root=str(tmp_path)))


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100", "parquet"])
def test_data_sets_on_disk_need_a_root(name):
    with pytest.raises(InvalidRequestError, match=rf"data set {name} needs a root; give the folder"):
        load(DatasetSpec(name=name))


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100", "parquet"])
def test_empty_folder_says_what_belongs_there(tmp_path, name):
    with pytest.raises(InvalidRequestError, match=rf"{tmp_path} has no .*(give|put|nor)"):
        load(DatasetSpec(name=name, root=str(tmp_path)))


def test_unknown_data_set_names_the_known_ones():
    with pytest.raises(InvalidRequestError, match=r"unknown data set 'cifar'; did you mean 'cifar10'\? choose one of"):
        load(DatasetSpec(name="cifar"))


def test_specification_goes_through_json_and_refuses_unknown_keys():
    spec = DatasetSpec(name="parquet", root="/data", label_column="label")
    assert DatasetSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(InvalidRequestError, match="unknown data set key 'path'; choose from: name, root"):
        DatasetSpec.from_dict({"name": "digits", "path": "x"})


def test_one_class_is_refused():
    dataset = random_dataset()
    with pytest.raises(InvalidRequestError, match="has 1 class; a classifier needs at least 2"):
        replace(dataset, train_labels=torch.zeros_like(dataset.train_labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"train_images": d.train_images.float()}, "must be square, uint8"),
        (lambda d: {"train_images": d.train_images[:, :, :4]}, "must be square, uint8"),
        (lambda d: {"train_labels": d.train_labels[:-1]}, "give one int64 label for every image"),
        (lambda d: {"test_labels": d.test_labels + 1}, r"run from 1 to 3 but must lie in 0\.\.2"),
        (lambda d: {"test_images": d.test_images[:, :, :4, :4]}, "make them equal"),
        (lambda d: {"std": (0.0, 1.0, 1.0)}, "std above 0"),
    ],
)
def test_data_that_does_not_fit_is_refused(change, message):
    dataset = random_dataset()
    with pytest.raises(InvalidRequestError, match=message):
        replace(dataset, **change(dataset))


def test_channel_statistics_are_mean_and_deviation():
    images = random_dataset().train_images
    mean, std = channel_statistics(images)
    scaled = images.double() / 255
    torch.testing.assert_close(torch.tensor(mean).double(), scaled.mean((0, 2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.tensor(std).double(), scaled.std((0, 2, 3), correction=0), atol=1e-4, rtol=0)
