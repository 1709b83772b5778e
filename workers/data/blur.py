"""Blurs of a batch: out of focus, and moved.

As in Hendrycks and Dietterich (ICLR 2019): a disk smoothed by a small Gaussian, and ImageMagick's motion blur, which
sums half a Gaussian along a line that starts in the pixel itself.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Values = NDArray[np.float32]
NEGLIGIBLE = 1e-4


def defocus(images: Values, *, radius: float, softness: float) -> Values:
    """Return (N, C, H, W) images under a disk of `radius` pixels whose edge a Gaussian of `softness` pixels softens."""
    kernel = torch.from_numpy(disk(radius, softness))
    channels, reach = images.shape[1], kernel.shape[0] // 2
    mode = "reflect" if reach < min(images.shape[2:]) else "replicate"
    padded = F.pad(torch.from_numpy(images), [reach] * 4, mode=mode)
    return F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels).numpy()


def disk(radius: float, softness: float) -> Values:
    """Return the square kernel, which sums to 1; its side is odd."""
    grid = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    inside = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(np.float64)
    taps = np.exp(-((np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)) ** 2) / (2 * softness**2))
    taps /= taps.sum()
    rows = np.apply_along_axis(np.convolve, 1, inside, taps)
    kernel = np.apply_along_axis(np.convolve, 0, rows, taps)
    return (kernel / kernel.sum()).astype(np.float32)


def motion(images: Values, *, radius: int, sigma: float, angles_deg: NDArray[np.float64]) -> Values:
    """Return (N, C, H, W) images, each smeared in its own direction over up to `2 * radius` pixels."""
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    height, width = images.shape[2:]
    smeared = np.zeros_like(images)
    numbers = np.arange(len(images))[:, None, None]
    for step, weight in enumerate(weights):
        if weight < NEGLIGIBLE:
            break
        down = np.ceil(step * np.sin(np.radians(angles_deg)) - 0.5).astype(np.int64)
        right = np.ceil(step * np.cos(np.radians(angles_deg)) - 0.5).astype(np.int64)
        rows = np.clip(np.arange(height) + down[:, None], 0, height - 1)[:, :, None]
        columns = np.clip(np.arange(width) + right[:, None], 0, width - 1)[:, None, :]
        smeared += weight * images.transpose(0, 2, 3, 1)[numbers, rows, columns].transpose(0, 3, 1, 2)
    return smeared / weights[weights >= NEGLIGIBLE].sum()
