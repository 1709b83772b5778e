"""The paired bootstrap over test images: every quantity is computed on the same resampled images.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Images are drawn once
and their counts kept, so that two systems, or a system and its reference, are compared image by image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats
from workers.protocol.record import Record

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Record):
    """An estimate from all images, and its percentile interval over the resamples."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL

    @classmethod
    def of(cls, estimate: float, samples: Floats, *, level: float = LEVEL) -> Interval:
        """Return the interval of bootstrap `samples` (B,)."""
        low, high = np.percentile(samples, [50 * (1 - level), 50 * (1 + level)])
        return cls(estimate=float(estimate), low=float(low), high=float(high), level=level)

    def excludes(self, value: float) -> bool:
        """Return whether `value` lies outside."""
        return not self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resamples:
    """How often each image is drawn in each resample: (B, N) float32, every row sums to N."""

    counts: NDArray[np.float32] = field(repr=False)

    @classmethod
    def draw(cls, n: int, *, rng: np.random.Generator, count: int = RESAMPLES) -> Resamples:
        """Return `count` draws of n images with replacement.

        Raises:
            InvalidRequestError: no image, or fewer than two resamples.
        """
        if n < 1 or count < 2:
            raise InvalidRequestError(f"{count} resamples of {n} images; give at least 2 and 1")
        counts = np.empty((count, n), dtype=np.float32)
        for row in counts:
            row[:] = np.bincount(rng.integers(0, n, size=n), minlength=n)
        return cls(counts=counts)

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.counts.shape[1])

    def means(self, values: NDArray[np.bool_] | NDArray[np.floating]) -> Floats:
        """Return the resampled means: (B,) of values (N,), or (K, B) of values (K, N).

        Raises:
            InvalidRequestError: the values are of another number of images.
        """
        if values.shape[-1] != self.n:
            raise InvalidRequestError(
                f"values of {values.shape[-1]} images but resamples of {self.n}; pair systems on the same images"
            )
        return np.asarray(values.astype(np.float32) @ self.counts.T, dtype=np.float64) / self.n

    def interval(self, values: NDArray[np.bool_] | NDArray[np.floating], *, scale: float = 1.0) -> Interval:
        """Return the interval of the mean of values (N,), times `scale`."""
        return Interval.of(scale * float(np.mean(values)), scale * self.means(values))
