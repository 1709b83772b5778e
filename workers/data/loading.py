"""Data sets by name. A loader is imported when it is asked for: the libraries behind them take seconds to import."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import replace

from nas_service.errors import InvalidRequestError
from workers.data.dataset import Dataset, DatasetSpec

LOADERS = {
    "digits": "workers.data.digits:load",
    "fashion_mnist": "workers.data.fashion_mnist:load",
    "cifar10": "workers.data.cifar:load_cifar10",
    "cifar100": "workers.data.cifar:load_cifar100",
    "imagenet": "workers.data.folder:load_imagenet",
    "folder": "workers.data.folder:load_folder",
    "parquet": "workers.data.parquet:load",
}


def load(spec: DatasetSpec) -> Dataset:
    """Return the data set that `spec` names; InvalidRequestError says what is missing or broken."""
    if spec.name not in LOADERS:
        near = difflib.get_close_matches(spec.name, LOADERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise InvalidRequestError(f"unknown data set {spec.name!r}{hint} choose one of: {', '.join(LOADERS)}")
    module, _, name = LOADERS[spec.name].partition(":")
    loader: Callable[[DatasetSpec], Dataset] = getattr(importlib.import_module(module), name)
    dataset = loader(spec)
    return replace(dataset, augmentation=dataset.augmentation.changed(spec.augmentation))
