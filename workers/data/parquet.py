"""Image sets in Parquet, in the layout that Hugging Face publishes: `train-*.parquet` and `test-*.parquet`.

An image column is a struct {bytes, path}; a label column holds integers, whose names come from the file's metadata if
they are there. Images are taken as they are, grey or RGB and all of one size; with a resolution they may be of any, and
become RGB squares.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec, channel_statistics
from workers.data.decode import decode

PAD_SHARE = 1 / 8  # of the image's side: 4 pixels at 32


def load(spec: DatasetSpec) -> Dataset:
    """Return the Parquet set under `spec.root`, or one folder below it.

    With `spec.cache`, decoded images are kept there and later loads map that file instead of decoding.

    Raises:
        InvalidRequestError: a split is missing, a file or row is damaged (it says which), or images differ in size.
    """
    if spec.root is None:
        raise InvalidRequestError(
            "data set parquet needs a root; give the folder with train-*.parquet and test-*.parquet"
        )
    files = find_files(Path(spec.root).expanduser())
    names = _columns(spec, files["train"][0])
    tensors = _cached(spec, files)
    if tensors is None:
        tensors = _decode(files, *names[:2], spec.resolution)
        _keep(spec, files, tensors)
    classes = names[2] or tuple(str(i) for i in range(int(tensors["train_labels"].max()) + 1))
    mean, std = channel_statistics(tensors["train_images"])
    return Dataset(
        name="parquet",
        classes=classes,
        **tensors,
        mean=mean,
        std=std,
        augmentation=Augmentation(pad=round(tensors["train_images"].shape[2] * PAD_SHARE), flip=True),
    )


def find_files(root: Path) -> dict[str, list[Path]]:
    """Return the files of `train` and `test` in `root` or the one folder below it that has them."""
    if not root.is_dir():
        raise InvalidRequestError(f"{root} is no folder; give the one with train-*.parquet and test-*.parquet")
    folders = [root, *sorted(p for p in root.iterdir() if p.is_dir())]
    found = [f for f in folders if any(f.glob("train-*.parquet")) or any(f.glob("test-*.parquet"))]
    if not found:
        raise InvalidRequestError(f"{root} has no train-*.parquet or test-*.parquet, nor has a folder below it")
    files = {part: sorted(found[0].glob(f"{part}-*.parquet")) for part in ("train", "test")}
    if missing := [part for part, paths in files.items() if not paths]:
        raise InvalidRequestError(f"{found[0]} has no {missing[0]}-*.parquet; both train and test are needed")
    return files


def _columns(spec: DatasetSpec, path: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the names of the image and the label column, and the class names if the file has them."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError(f"{path} is no whole Parquet file: {error}; fetch it again") from None
    images = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    labels = [f.name for f in schema if pa.types.is_integer(f.type)]
    image = _one(spec.image_column, images, schema.names, what="image_column", kind="a struct with bytes", path=path)
    label = _one(spec.label_column, labels, schema.names, what="label_column", kind="integers", path=path)
    return image, label, _class_names(schema, label)


def _one(given: str | None, found: list[str], names: list[str], *, what: str, kind: str, path: Path) -> str:
    if given is not None and given not in found:
        raise InvalidRequestError(f"{what} is {given!r} but {path} has columns {names}; those of {kind}: {found}")
    if given is None and len(found) != 1:
        raise InvalidRequestError(f"{path} has {len(found)} columns of {kind} ({found} of {names}); set {what}")
    return given or found[0]


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, ValueError, TypeError):
        return None


def _decode(files: dict[str, list[Path]], image: str, label: str, side: int | None) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for part, paths in files.items():
        total = sum(_row_count(path) for path in paths)
        labels = torch.empty(total, dtype=torch.int64)
        images: Tensor | None = None
        for index, (pixels, number) in enumerate(_all_rows(paths, image, label, side)):
            if images is None:
                images = torch.empty((total, pixels.shape[2], *pixels.shape[:2]), dtype=torch.uint8)
            images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
            labels[index] = number
        if images is None:
            raise InvalidRequestError(f"{paths[0]} and the other {part} files have no rows; fetch them again")
        tensors[f"{part}_images"], tensors[f"{part}_labels"] = images, labels
    return tensors


def _row_count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError(f"{path} is no whole Parquet file: {error}; fetch it again") from None


def _all_rows(paths: list[Path], image: str, label: str, side: int | None) -> Iterator[tuple[NDArray[np.uint8], int]]:
    shape: tuple[int, ...] | None = None
    for path in paths:
        for row, (pixels, number) in enumerate(_rows(path, image, label, side)):
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise InvalidRequestError(
                    f"{path} row {row} is an image of {pixels.shape} but others are {shape}; set resolution"
                )
            yield pixels, number


def _rows(path: Path, image: str, label: str, side: int | None) -> Iterator[tuple[NDArray[np.uint8], int]]:
    row = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024, columns=[image, label]):
            column, labels = batch.column(image).field("bytes"), batch.column(label)
            for value, number in zip(column, labels, strict=True):
                where, mode = f"{path} row {row}", "" if side is None else "RGB"
                pixels = decode(value.as_py() or b"", where, side=side, mode=mode)
                if not number.is_valid:
                    raise InvalidRequestError(f"{path} row {row} has no label; remove the row or label it")
                yield pixels, number.as_py()
                row += 1
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())  # Arrow's span lines
        raise InvalidRequestError(f"{path} is damaged after row {row}: {reason}; fetch it again") from None


def _cache_path(spec: DatasetSpec, files: dict[str, list[Path]]) -> Path:
    stamps = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for paths in files.values() for p in paths]
    key: Any = [stamps, spec.image_column, spec.label_column, spec.resolution]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    return Path(spec.cache or "").expanduser() / f"parquet-{digest}.safetensors"


def _cached(spec: DatasetSpec, files: dict[str, list[Path]]) -> dict[str, Tensor] | None:
    if spec.cache is None or not (path := _cache_path(spec, files)).is_file():
        return None
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        return None  # written anew


def _keep(spec: DatasetSpec, files: dict[str, list[Path]], tensors: dict[str, Tensor]) -> None:
    if spec.cache is None:
        return
    path = _cache_path(spec, files)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, part)
    os.replace(part, path)
