"""Corruptions of clean images, so that a shift can be measured without another data set.

The definitions and severities of Hendrycks and Dietterich (Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations, ICLR 2019): those of their CIFAR-10-C for images up to 96 pixels, of ImageNet-C above. Departures:
motion blur and disks are summed here and not by ImageMagick and OpenCV, so borders differ by a few levels; what is
random is drawn from one seed for the whole set, not image by image.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nas_service.errors import InvalidRequestError
from nas_service.spelling import nearest
from workers.data.blur import defocus, motion
from workers.data.fog import plasma

SEVERITIES = (1, 2, 3, 4, 5)
SMALL_SIDE = 96
CHUNK_PIXELS = 2_000_000

Values = NDArray[np.float32]  # (N, C, H, W) in [0, 1]
Corruption = Callable[[Values, tuple[float, ...], np.random.Generator], Values]


def corrupt(images: Tensor, name: str, *, severity: int, seed: int = 0) -> Tensor:
    """Return (N, C, H, W) uint8 `images` with the corruption `name`; the same seed gives the same bytes.

    Args:
        images: uint8, C 1 or 3, square.
        name: A key of `CORRUPTIONS`.
        severity: In 1..5.
        seed: Of noise, directions and fog.

    Raises:
        InvalidRequestError: an unknown name or severity, or images of another kind.
    """
    if name not in CORRUPTIONS:
        hint = nearest(name, CORRUPTIONS)
        raise InvalidRequestError(f"unknown corruption {name!r}{hint}; choose one of: {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise InvalidRequestError(f"severity is {severity} but must lie in 1..{SEVERITIES[-1]}")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InvalidRequestError(
            f"images are {images.dtype} {tuple(images.shape)} but must be uint8 (N, 1 or 3, H, W)"
        )
    apply, small, large = CORRUPTIONS[name]
    strength = (small if images.shape[3] <= SMALL_SIDE else large)[severity - 1]
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name), severity])
    corrupted = torch.empty_like(images)
    size = max(1, CHUNK_PIXELS // images[0].numel()) if len(images) else 1
    for old, new in zip(images.split(size), corrupted.split(size), strict=True):
        values = apply(old.numpy().astype(np.float32) / 255, strength, rng)
        new.copy_(torch.from_numpy((np.clip(values, 0, 1) * 255).round().astype(np.uint8)))
    return corrupted


def _gaussian_noise(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    return x + np.float32(strength[0]) * rng.standard_normal(x.shape, dtype=np.float32)


def _shot_noise(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    return (rng.poisson(x * strength[0]) / strength[0]).astype(np.float32)


def _impulse_noise(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    drawn = rng.random(x.shape, dtype=np.float32)  # half of what is struck turns black, half white
    return np.where(drawn < strength[0], (drawn < strength[0] / 2).astype(np.float32), x)


def _defocus_blur(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    return defocus(x, radius=strength[0], softness=strength[1])


def _motion_blur(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    angles = rng.uniform(-45, 45, size=len(x))
    return motion(x, radius=int(strength[0]), sigma=strength[1], angles_deg=angles)


def _fog(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    thickness, decay = strength
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    haze = plasma(len(x), x.shape[2], decay=decay, rng=rng)[:, None, : x.shape[2], : x.shape[3]]
    return (x + np.float32(thickness) * haze) * brightest / (brightest + np.float32(thickness))


def _brightness(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    """Raise the V of HSV: all channels in proportion; black turns grey."""
    value = x.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(strength[0]), 1)
    return np.where(value > 0, x * (raised / np.maximum(value, 1e-6)), raised)


def _contrast(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    mean = x.mean(axis=(2, 3), keepdims=True)
    return (x - mean) * np.float32(strength[0]) + mean


def _pixelate(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    side = x.shape[3]
    small, box = max(1, int(side * strength[0])), Image.Resampling.BOX
    return _by_pillow(x, lambda image: image.resize((small, small), box).resize((side, side), box))


def _jpeg(x: Values, strength: tuple[float, ...], rng: np.random.Generator) -> Values:
    def through(image: Image.Image) -> Image.Image:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=int(strength[0]))
        return Image.open(held)

    return _by_pillow(x, through)


def _by_pillow(x: Values, change: Callable[[Image.Image], Image.Image]) -> Values:
    pixels = (x * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    changed = [np.asarray(change(Image.fromarray(i[:, :, 0] if i.shape[2] == 1 else i))) for i in pixels]
    return np.stack(changed).reshape(pixels.shape).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


def _each(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) for value in values)


# By name: what it does, and its strength by severity for small and for large images.
CORRUPTIONS: dict[str, tuple[Corruption, tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]] = {
    "gaussian_noise": (_gaussian_noise, _each(0.04, 0.06, 0.08, 0.09, 0.10), _each(0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, _each(500, 250, 100, 75, 50), _each(60, 25, 12, 5, 3)),
    "impulse_noise": (_impulse_noise, _each(0.01, 0.02, 0.03, 0.05, 0.07), _each(0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    ),
    "motion_blur": (
        _motion_blur,
        ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
        ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
    ),
    "fog": (
        _fog,
        ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    ),
    "brightness": (_brightness, _each(0.05, 0.1, 0.15, 0.2, 0.3), _each(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, _each(0.75, 0.5, 0.4, 0.3, 0.15), _each(0.4, 0.3, 0.2, 0.1, 0.05)),
    "jpeg": (_jpeg, _each(80, 65, 58, 50, 40), _each(25, 18, 15, 10, 7)),
    "pixelate": (_pixelate, _each(0.95, 0.9, 0.85, 0.75, 0.65), _each(0.6, 0.5, 0.4, 0.3, 0.25)),
}
