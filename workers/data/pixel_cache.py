"""Decoded images on disk: written once, by one process, from where the last one stopped; then mapped into memory.

A cache is a folder with `pixels`, raw uint8 of (N, C, H, W), and `done`, how many images of it are there.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from nas_service.errors import InvalidRequestError

CHUNK = 512
IN_MEMORY_BYTES = 2**31
_log = logging.getLogger(__name__)

Shape = tuple[int, int, int]
Decode = Callable[[int], NDArray[np.uint8]]


def decoded(count: int, shape: Shape, decode: Decode, *, cache: Path | None, what: str) -> Tensor:
    """Return (count, *shape) uint8 images, decoded by all of the process's cores.

    Args:
        count: Number of images.
        shape: (C, H, W) of each.
        decode: Gives image `i` as (H, W, C); called from several threads.
        cache: A folder for this very list of images; None keeps nothing and holds them in memory. Images of more than
            2 GiB are mapped from there, smaller sets are read into memory.
        what: What to call them while they are decoded.

    Raises:
        InvalidRequestError: what `decode` raises, or too many images for memory and no cache.
    """
    size = count * math.prod(shape)
    if cache is None:
        if size > IN_MEMORY_BYTES:
            raise InvalidRequestError(
                f"{what} take {size / 2**30:.1f} GiB but at most {IN_MEMORY_BYTES / 2**30:g} GiB are held in memory; "
                "give a cache folder, or a smaller resolution"
            )
        images = np.empty((count, *shape), np.uint8)
        _fill(images, decode, begin=0, what=what, finished=lambda done: None)
        return torch.from_numpy(images)
    with _alone(cache):
        _complete(cache, (count, *shape), decode, what)
    if size <= IN_MEMORY_BYTES:
        return torch.from_numpy(np.fromfile(cache / "pixels", np.uint8).reshape(count, *shape))
    return torch.from_numpy(np.memmap(cache / "pixels", np.uint8, mode="c", shape=(count, *shape)))  # never written to


def _complete(cache: Path, shape: tuple[int, ...], decode: Decode, what: str) -> None:
    done, pixels = cache / "done", cache / "pixels"
    whole = pixels.is_file() and pixels.stat().st_size == math.prod(shape)
    begin = int(done.read_text()) if whole and done.is_file() else 0
    if begin >= shape[0]:
        return
    images = np.memmap(pixels, np.uint8, mode="r+" if whole else "w+", shape=shape)

    def finished(count: int) -> None:
        images.flush()
        part = done.with_suffix(".part")
        part.write_text(str(count))
        os.replace(part, done)

    _fill(images, decode, begin=begin, what=what, finished=finished)


def _fill(images: NDArray[np.uint8], decode: Decode, *, begin: int, what: str, finished: Callable[[int], None]) -> None:
    """Decode from `begin` on, a chunk at a time, and tell `finished` after each how many are there."""
    count = len(images)

    def one(index: int) -> None:
        images[index] = decode(index).transpose(2, 0, 1)

    bar = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool, bar:
        task = bar.add_task(f"decoding {what}", total=count, completed=begin)
        for start in range(begin, count, CHUNK):
            end = min(start + CHUNK, count)
            _all(pool, one, range(start, end))
            finished(end)
            bar.update(task, completed=end)
            if 10 * end // count > 10 * start // count:
                _log.info("decoded %d of %d images of %s", end, count, what)


def _all(pool: ThreadPoolExecutor, one: Callable[[int], None], indices: Sequence[int]) -> None:
    for _ in pool.map(one, indices):  # raises the first error, in order
        pass


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache, so that two processes of one machine do not write it at once; a dead one lets go by itself."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
