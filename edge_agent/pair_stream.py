"""The stream that a pair is measured on: real images, stratified by the cluster's routes, and the orders they come in.

Arrays of stream.npz: `images` uint8 (N, H, W, C); `routes` uint8 (N,), 0 little and 1 big, and `scores` float32 (N,),
both as the cluster has them; `natural` uint8 (M,), the routes of a split's images in their natural order; and, where
known, `labels` int64 (N,).

The stratified order runs both routes often enough whatever their shares, near their natural mix, because what a route
costs depends a little on what ran before it. An image of the other route is taken where a route has too few of its own.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import ModelRefusedError

Index = npt.NDArray[np.int64]
ARRAYS = ("images", "routes", "scores", "natural")
MIN_PER_ROUTE = 64
MIX = (0.2, 0.8)
STEPS = 4096
_MAX_UNPACKED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """The content of stream.npz; see the module."""

    images: npt.NDArray[np.uint8] = field(repr=False)
    routes: npt.NDArray[np.uint8] = field(repr=False)
    scores: npt.NDArray[np.float32] = field(repr=False)
    natural: npt.NDArray[np.uint8] = field(repr=False)
    labels: Index | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("images", "routes", "scores")}
        if self.labels is not None:
            lengths["labels"] = len(self.labels)
        if len(set(lengths.values())) != 1 or not len(self.images) or not len(self.natural):
            raise ModelRefusedError(f"the stream's arrays have lengths {lengths} but must be equal and at least 1")
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ModelRefusedError(
                f"the stream's images are {self.images.dtype} {self.images.shape} but must be uint8 (N, H, W, C)"
            )
        if max(self.routes.max(), self.natural.max()) > 1:
            raise ModelRefusedError("the stream's routes must be 0 (little) or 1 (big)")

    def __len__(self) -> int:
        return len(self.images)

    def pool(self, route: int) -> Index:
        """Return the images to run a route with: its own, and others where these are too few."""
        own, others = np.flatnonzero(self.routes == route), np.flatnonzero(self.routes != route)
        return np.concatenate([own, others[: max(0, MIN_PER_ROUTE - len(own))]])


def read_stream(path: Path) -> Stream:
    """Return the arrays of a stream.npz.

    Raises:
        ModelRefusedError: If it is none, or unpacks to more than 256 MiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise ModelRefusedError(
                    f"the stream unpacks to more than {_MAX_UNPACKED_BYTES} bytes; send fewer images"
                )
        with np.load(path, allow_pickle=False) as arrays:
            if missing := sorted(set(ARRAYS) - set(arrays.files)):
                raise ModelRefusedError(f"the stream lacks {', '.join(missing)}; it must hold {', '.join(ARRAYS)}")
            content: dict[str, Any] = {name: arrays[name] for name in (*ARRAYS, "labels") if name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelRefusedError(f"the stream cannot be read: {error}; export it again") from None
    return Stream(**content)


def stream_bytes(stream: Stream) -> bytes:
    """Return the stream as the bytes of a stream.npz."""
    arrays = {name: getattr(stream, name) for name in (*ARRAYS, "labels") if getattr(stream, name) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def stratified_order(stream: Stream, *, share: float, seed: int = 0) -> tuple[Index, Index]:
    """Return which image to run and which route to run it through, both (4096,), for a natural share of the big."""
    rng = np.random.default_rng(seed)
    count = round(STEPS * float(np.clip(share, *MIX)))
    paths = rng.permutation(np.repeat([1, 0], [count, STEPS - count])).astype(np.int64)
    images = np.empty(STEPS, dtype=np.int64)
    for route in (0, 1):
        images[paths == route] = _taken(stream.pool(route), int((paths == route).sum()), rng)
    return images, paths


def natural_order(stream: Stream, *, seed: int = 0) -> Index:
    """Return which image to run, (M,), so that the cluster's routes follow one another as in the split."""
    rng = np.random.default_rng(seed)
    images = np.empty(len(stream.natural), dtype=np.int64)
    for route in (0, 1):
        places = stream.natural == route
        images[places] = _taken(stream.pool(route), int(places.sum()), rng)
    return images


def _taken(pool: Index, count: int, rng: np.random.Generator) -> Index:
    """Return `count` members of a pool, all of them before any comes again."""
    rounds = [rng.permutation(pool) for _ in range(-(-count // len(pool)))]
    return np.concatenate(rounds)[:count] if rounds else pool[:0]
