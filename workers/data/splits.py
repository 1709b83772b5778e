"""Which image serves which purpose: weights, architecture, thresholds, or the final test.

The order within a class is by SHA-256 of seed and index, not by a random generator, so that every machine and every
version of every library draws the same splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.data.dataset import Dataset

Indices = NDArray[np.int64]
SPLITS = ("weights", "validation", "calibration", "test")
HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 10_000  # of the train part, for validation and for calibration


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Ascending indices into the official parts: `test` into the test part, the others into the train part.

    Attributes:
        weights: Images that train weights and recalibrate BatchNorm.
        validation: Images that choose architectures.
        calibration: Images that choose thresholds.
        test: Images that are looked at once, when everything is chosen.
    """

    weights: Indices = field(repr=False)
    validation: Indices = field(repr=False)
    calibration: Indices = field(repr=False)
    test: Indices = field(repr=False)

    @classmethod
    def make(
        cls,
        labels: NDArray[np.int64],
        *,
        test_size: int,
        seed: int,
        train_fraction: float = 1.0,
        shares: tuple[float, float] = (HELD_OUT_SHARE, HELD_OUT_SHARE),
    ) -> Splits:
        """Return stratified splits.

        Args:
            labels: (N,) labels of the official train part.
            test_size: Images in the official test part; all are used.
            seed: Another seed draws other splits.
            train_fraction: Share of the weights split to keep, in (0, 1], for quick looks; the others stay whole.
            shares: Shares of the train part for validation and calibration.

        Raises:
            InvalidRequestError: a share out of range, or a class with too few images.
        """
        if not 0 < train_fraction <= 1:
            raise InvalidRequestError(f"train_fraction is {train_fraction:g} but must lie in (0, 1]")
        validation, calibration, weights = stratified_parts(labels, shares, seed=seed)
        if train_fraction < 1:
            kept, _ = stratified_parts(labels[weights], (train_fraction,), seed=seed)
            weights = weights[kept]
        for name, part in (("weights", weights), ("validation", validation), ("calibration", calibration)):
            if missing := sorted(set(np.unique(labels).tolist()) - set(labels[part].tolist())):
                raise InvalidRequestError(
                    f"class {missing[0]} has no image in the {name} split; every class needs at least "
                    f"{round(1 / min(*shares, 1))} training images"
                )
        return cls(
            weights=weights, validation=validation, calibration=calibration, test=np.arange(test_size, dtype=np.int64)
        )

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int, train_fraction: float = 1.0) -> Splits:
        """Return the splits of `dataset`, as `make` draws them; of large ones 10,000 images each are held out."""
        labels = dataset.train_labels.numpy()
        share = min(HELD_OUT_SHARE, MOST_HELD_OUT / len(labels))
        return cls.make(
            labels,
            test_size=len(dataset.test_labels),
            seed=seed,
            train_fraction=train_fraction,
            shares=(share, share),
        )

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each split's indices, as little-endian int64."""
        return {
            name: hashlib.sha256(np.ascontiguousarray(getattr(self, name), dtype="<i8").tobytes()).hexdigest()
            for name in SPLITS
        }


def stratified_parts(labels: NDArray[np.int64], shares: Sequence[float], *, seed: int) -> list[Indices]:
    """Return disjoint parts with `shares` of every class, ascending, and last the rest."""
    if min(shares) <= 0 or sum(shares) > 1:
        raise InvalidRequestError(f"shares are {tuple(shares)} but must be above 0 and sum to at most 1")
    parts: list[list[Indices]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort([_rank(seed, int(i)) for i in members], kind="stable")]
        ends = [*np.round(np.cumsum([0.0, *shares]) * len(order)).astype(int).tolist(), len(order)]
        for part, begin, end in zip(parts, ends, ends[1:], strict=False):
            part.append(order[begin:end])
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def _rank(seed: int, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")
