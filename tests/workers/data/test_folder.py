from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.data import pixel_cache
from workers.data.augmentation import Augmentation
from workers.data.dataset import DatasetSpec
from workers.data.folder import IMAGENET_MEAN
from workers.data.loading import load
from workers.data.splits import Splits
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train


def write(path: Path, *, size: tuple[int, int] = (20, 12), level: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if mode == "L" else (level,) * 3).save(path)


def lay(root: Path, *, parts: tuple[str, ...] = ("train/", "val/"), classes: int = 2, count: int = 5) -> Path:
    """Grey images, whose level tells part, class and number."""
    for p, part in enumerate(parts):
        for c in range(classes):
            for i in range(count):
                write(root / f"{part}class-{c}" / f"{i}.png", level=100 * p + 20 * c + i)
    return root


def folder(root: Path, **changes: object) -> DatasetSpec:
    return replace(DatasetSpec(name="folder", root=str(root), resolution=8), **changes)


def levels(images: torch.Tensor) -> list[int]:
    return images[:, 0, 4, 4].tolist()


@pytest.mark.parametrize("name", ["folder", "imagenet"])
def test_both_parts_are_read_in_the_order_of_names(tmp_path, name):
    dataset = load(folder(lay(tmp_path), name=name))
    assert dataset.classes == ("class-0", "class-1")
    assert dataset.train_images.shape == (10, 3, 8, 8)
    assert levels(dataset.train_images) == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]
    assert levels(dataset.test_images) == [100, 101, 102, 103, 104, 120, 121, 122, 123, 124]
    assert dataset.test_labels.tolist() == [0] * 5 + [1] * 5
    assert dataset.augmentation == Augmentation(pad=1, flip=True)


@pytest.mark.parametrize(("name", "side"), [("folder", 96), ("imagenet", 224)])
def test_without_a_resolution_the_usual_one_is_taken(tmp_path, name, side):
    dataset = load(DatasetSpec(name=name, root=str(lay(tmp_path, count=1))))
    assert dataset.resolution == side
    assert (dataset.mean == IMAGENET_MEAN) == (name == "imagenet")


def test_without_parts_a_fixed_fifth_of_every_class_is_the_test_part(tmp_path):
    lay(tmp_path, parts=("",), count=10)
    one, two = (load(folder(tmp_path)) for _ in range(2))
    assert torch.bincount(one.test_labels).tolist() == [2, 2]
    assert sorted(levels(one.train_images) + levels(one.test_images)) == [*range(10), *range(20, 30)]
    assert torch.equal(one.test_images, two.test_images)


def test_imagenet_needs_its_two_parts(tmp_path):
    with pytest.raises(InvalidRequestError, match="has neither train/ nor val/; use data set folder for classes alone"):
        load(folder(lay(tmp_path, parts=("",)), name="imagenet"))


def test_images_are_resized_by_their_shorter_side_and_cut_in_the_middle(tmp_path):
    lay(tmp_path)
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = 200  # the square in the middle
    Image.fromarray(pixels).save(tmp_path / "train/class-0/0.png")
    first = load(folder(tmp_path)).train_images[0]
    assert (first[:, :, 1:-1] == 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    lay(tmp_path)
    path = tmp_path / "train/class-0" / ("0.tif" if mode == "CMYK" else "9.png")
    Image.new(mode, (9, 9)).save(path)
    assert load(folder(tmp_path)).train_images.shape[1:] == (3, 8, 8)


def cut_short(path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


def bomb(path: Path) -> None:
    path.write_bytes(b"P6\n20000 10001\n255\n")  # a PPM's header is enough to see it


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(b"no image"), r"class-1/3.png holds no readable image: .*; remove or replace it"),
        (lambda p: p.write_bytes(b""), r"class-1/3.png holds no readable image"),
        (cut_short, r"class-1/3.png holds no readable image: .*truncated"),
        (bomb, r"class-1/3.png (is too large to be a photograph|has 20000x10001 pixels)"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path, damage, message):
    damage(lay(tmp_path) / "train/class-1/3.png")
    with pytest.raises(InvalidRequestError, match=message):
        load(folder(tmp_path))


def test_a_cached_set_is_not_decoded_again(tmp_path, monkeypatch):
    spec = folder(lay(tmp_path / "set"), cache=str(tmp_path / "cache"))
    first = load(spec)
    monkeypatch.setattr("workers.data.folder.decode", None)
    assert torch.equal(load(spec).train_images, first.train_images)


def test_a_changed_file_or_resolution_makes_another_cache(tmp_path):
    spec = folder(lay(tmp_path / "set"), cache=str(tmp_path / "cache"))
    load(spec)
    write(tmp_path / "set/train/class-0/0.png", size=(30, 30), level=99)
    assert levels(load(spec).train_images)[0] == 99
    assert load(replace(spec, resolution=12)).resolution == 12
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_large_set_is_mapped_and_trains_like_a_small_one(tmp_path, monkeypatch):
    spec = folder(lay(tmp_path / "set"), cache=str(tmp_path / "cache"))
    small = load(spec)
    monkeypatch.setattr(pixel_cache, "IN_MEMORY_BYTES", 100)
    mapped = load(spec)
    chosen = torch.tensor([7, 0, 3])
    assert torch.equal(mapped.train_images[chosen], small.train_images[chosen])
    assert mapped.mean == small.mean
    with pytest.raises(InvalidRequestError, match=r"at most .* GiB are held in memory; give a cache folder, or a sm"):
        load(replace(spec, cache=None))


@pytest.mark.slow
def test_a_pair_learns_from_a_mapped_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_cache, "IN_MEMORY_BYTES", 100)
    spec = folder(lay(tmp_path / "set", count=40), cache=str(tmp_path / "cache"), resolution=16)
    dataset = load(replace(spec, augmentation={"randaugment": 2, "mixup": 0.2, "cutmix": 1.0}))
    supernet = Supernet(PairSpace(MICRO, channels=3, resolution=16, classes=2))
    (report,) = train(supernet, dataset, Splits.of(dataset, seed=0), TrainConfig(epochs=1, batch_size=16))
    assert 0 < report.losses["loss"] < 5
