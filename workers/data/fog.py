"""Fog as a fractal: the diamond-square algorithm (Fournier, Fussell and Carpenter, CACM 1982) for a batch at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def plasma(count: int, side: int, *, decay: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (count, S, S) clouds with values from 0 to 1, S the power of two that is at least `side`.

    Args:
        count: Number of clouds.
        side: Pixels that are needed, at least 1.
        decay: Above 1; how much smoother each finer scale is. Heights change by its square from scale to scale.
        rng: Draws the heights.
    """
    size = 1 << max(1, (side - 1).bit_length())
    field = np.zeros((count, size, size), np.float32)
    step, height = size, 1.0
    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        sums = corners + np.roll(corners, -1, 1)
        field[:, half::step, half::step] = _varied(sums + np.roll(sums, -1, 2), height, rng)
        centres = field[:, half::step, half::step]
        beside = centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 2)
        field[:, ::step, half::step] = _varied(beside, height, rng)
        above = centres + np.roll(centres, 1, 2) + corners + np.roll(corners, -1, 1)
        field[:, half::step, ::step] = _varied(above, height, rng)
        step, height = half, height / decay**2
    field -= field.min(axis=(1, 2), keepdims=True)
    return field / np.maximum(field.max(axis=(1, 2), keepdims=True), 1e-6)


def _varied(sums: NDArray[np.float32], height: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the mean of four neighbours, moved by up to `height`."""
    return sums / 4 + np.float32(height) * (2 * rng.random(sums.shape, dtype=np.float32) - 1)
