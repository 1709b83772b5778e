"""Data sets by name, users' own by `package.module:function`.

A loader is imported when it is asked for: the libraries behind them take seconds to import.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from nas_service.errors import InvalidRequestError
from nas_service.import_path import imported
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
    dataset = _loader(spec.name)(spec)
    if not isinstance(dataset, Dataset):
        raise InvalidRequestError(
            f"data set {spec.name!r} loaded a {type(dataset).__name__} but must return a workers.data.dataset.Dataset"
        )
    return replace(dataset, augmentation=dataset.augmentation.changed(spec.augmentation))


def _loader(name: str) -> Callable[[DatasetSpec], Dataset]:
    """Return the function that loads data set `name`."""
    if ":" not in name and name not in LOADERS:
        near = difflib.get_close_matches(name, LOADERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise InvalidRequestError(
            f"unknown data set {name!r}{hint} choose one of: {', '.join(LOADERS)}, or give package.module:function"
        )
    loader: Callable[[DatasetSpec], Dataset] = imported(
        LOADERS.get(name, name), what=f"data set {name!r}", hint="is it on the workers' Python path?"
    )
    return loader
