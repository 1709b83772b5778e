from __future__ import annotations

import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nas_service.errors import InvalidRequestError
from workers.data.dataset import DatasetSpec
from workers.data.loading import load

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, *, cells=None, labels=None, names=None) -> None:
    cells = [png(image) for image in IMAGES] if cells is None else cells
    labels = [i % 2 for i in range(len(cells))] if labels is None else labels
    table = pa.table({"img": [{"bytes": c, "path": None} for c in cells], "label": pa.array(labels, pa.int64())})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.fixture
def root(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / "plain_text" / f"{part}-00000-of-00001.parquet", names=["cat", "dog"])
    return tmp_path


def spec(root, **changes) -> DatasetSpec:
    return DatasetSpec(name="parquet", root=str(root), **changes)


def test_images_labels_and_names_are_read_from_a_folder_below(root):
    dataset = load(spec(root))
    assert np.array_equal(dataset.train_images.permute(0, 2, 3, 1).numpy(), IMAGES)
    assert dataset.test_labels.tolist() == [0, 1] * 6
    assert dataset.classes == ("cat", "dog")


def test_shards_are_joined_in_order_of_name(root):
    write(root / "plain_text" / "train-00001-of-00002.parquet", cells=[png(IMAGES[3])], labels=[1])
    dataset = load(spec(root))
    assert len(dataset.train_images) == 13
    assert np.array_equal(dataset.train_images[12].permute(1, 2, 0).numpy(), IMAGES[3])


def test_classes_without_names_are_numbered(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}-0.parquet")
    assert load(spec(tmp_path)).classes == ("0", "1")


def test_with_a_resolution_images_of_any_size_and_kind_become_rgb_squares(root):
    cells = [png(np.full(shape, 70, np.uint8)) for shape in ((9, 5, 3), (20, 8, 3), (6, 6), (64, 64, 3))]
    write(root / "plain_text" / "train-00000-of-00001.parquet", cells=cells, labels=[0, 1, 0, 1])
    dataset = load(spec(root, resolution=16, cache=str(root / "cache")))
    assert dataset.train_images.shape == (4, 3, 16, 16)
    assert (dataset.train_images == 70).all()
    assert load(spec(root, resolution=12, cache=str(root / "cache"))).resolution == 12


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_split_is_named(root, part):
    next((root / "plain_text").glob(f"{part}-*")).unlink()
    with pytest.raises(InvalidRequestError, match=rf"has no {part}-\*.parquet; both train and test are needed"):
        load(spec(root))


def test_row_that_holds_no_image_is_named(root):
    cells = [png(image) for image in IMAGES]
    cells[5] = cells[5][:40]
    write(root / "plain_text" / "train-00000-of-00001.parquet", cells=cells)
    with pytest.raises(InvalidRequestError, match=r"train-00000-of-00001.parquet row 5 holds no readable image"):
        load(spec(root))


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_damaged_file_is_named(root, keep):
    path = root / "plain_text" / "test-00000-of-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InvalidRequestError, match=r"test-00000-of-00001.parquet is .*fetch it again"):
        load(spec(root))


def test_images_of_different_sizes_are_refused_by_row(root):
    cells = [png(image) for image in IMAGES[:3]] + [png(np.zeros((9, 9, 3), np.uint8))]
    write(root / "plain_text" / "train-00000-of-00001.parquet", cells=cells)
    with pytest.raises(InvalidRequestError, match=r"row 3 is an image of \(9, 9, 3\) but others are \(8, 8, 3\)"):
        load(spec(root))


def test_row_without_a_label_is_named(root):
    write(root / "plain_text" / "train-00000-of-00001.parquet", labels=[0, 1, None, *[0] * 9])
    with pytest.raises(InvalidRequestError, match="row 2 has no label"):
        load(spec(root))


def test_one_class_is_refused(root):
    for part in ("train", "test"):
        write(root / "plain_text" / f"{part}-00000-of-00001.parquet", labels=[0] * 12)
    with pytest.raises(InvalidRequestError, match="has 1 class; a classifier needs at least 2"):
        load(spec(root))


def test_column_that_does_not_exist_is_refused_with_those_that_do(root):
    with pytest.raises(InvalidRequestError, match=r"image_column is 'image' but .* has columns \['img', 'label'\]"):
        load(spec(root, image_column="image"))


def test_cached_images_are_used_as_long_as_the_files_stay(root, tmp_path):
    cached = spec(root, cache=str(tmp_path / "cache"))
    first, again = load(cached), load(cached)
    assert np.array_equal(first.train_images, again.train_images)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    write(root / "plain_text" / "train-00000-of-00001.parquet", cells=[png(i) for i in IMAGES[::-1]], names=["a", "b"])
    assert np.array_equal(load(cached).train_images[0].permute(1, 2, 0).numpy(), IMAGES[-1])


def test_damaged_cache_is_decoded_anew(root, tmp_path):
    cached = spec(root, cache=str(tmp_path / "cache"))
    first = load(cached)
    path = next((tmp_path / "cache").iterdir())
    path.write_bytes(path.read_bytes()[:50])
    assert np.array_equal(load(cached).train_images, first.train_images)


@pytest.mark.slow
@pytest.mark.skipif("NAS_TEST_CIFAR10" not in os.environ, reason="NAS_TEST_CIFAR10 names no folder with CIFAR-10")
def test_cifar10_in_parquet_has_fifty_thousand_images_of_ten_named_classes():
    dataset = load(spec(os.environ["NAS_TEST_CIFAR10"]))
    assert dataset.train_images.shape == (50_000, 3, 32, 32)
    assert len(dataset.test_images) == 10_000
    assert dataset.train_labels.bincount().tolist() == [5000] * 10
    assert dataset.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.005)
