"""RandAugment (Cubuk et al., CVPR Workshops 2020) over a batch: torchvision's operations, strengths and kernels.

torchvision's own class draws one operation for all that it is given, from the global generator, and so has to be called
image by image. Here every image draws its own, from the run's generator, and images that drew the same are changed in
one call: since the magnitude is fixed, that is the same thing, in a fifth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BINS = 31  # magnitudes run from 0 to 30, as in torchvision
Operation = Callable[[Tensor, float], Tensor]  # (n, C, H, W) uint8 and a signed share of the strongest, in [-1, 1]


def _affine(images: Tensor, *, shear: tuple[float, float] = (0.0, 0.0), move: tuple[int, int] = (0, 0)) -> Tensor:
    centre = [0.0, 0.0] if any(shear) else None
    return F.affine(images, angle=0.0, translate=list(move), scale=1.0, shear=list(shear), center=centre)


def _slant(share: float) -> float:
    return math.degrees(math.atan(0.3 * share))


def _pixels(side: int, share: float) -> int:
    return int(150 / 331 * side * share)


SIGNED = 10  # the first of these mean something else when their sign turns
OPERATIONS: tuple[Operation, ...] = (
    lambda x, share: x,
    lambda x, share: _affine(x, shear=(_slant(share), 0.0)),
    lambda x, share: _affine(x, shear=(0.0, _slant(share))),
    lambda x, share: _affine(x, move=(_pixels(x.shape[3], share), 0)),
    lambda x, share: _affine(x, move=(0, _pixels(x.shape[2], share))),
    lambda x, share: F.rotate(x, 30.0 * share),
    lambda x, share: F.adjust_brightness(x, 1 + 0.9 * share),
    lambda x, share: F.adjust_saturation(x, 1 + 0.9 * share),
    lambda x, share: F.adjust_contrast(x, 1 + 0.9 * share),
    lambda x, share: F.adjust_sharpness(x, 1 + 0.9 * share),
    lambda x, share: F.posterize(x, 8 - round(4 * abs(share))),
    lambda x, share: F.solarize(x, 255.0 * (1 - abs(share))),
    lambda x, share: F.autocontrast(x),
    lambda x, share: F.equalize(x),
)


def randaugment(images: Tensor, *, operations: int, magnitude: int, generator: torch.Generator) -> Tensor:
    """Return (N, C, H, W) uint8 images, C 1 or 3, after `operations` random ones each, all of strength `magnitude`.

    Args:
        images: They are left as they are.
        operations: At least 0.
        magnitude: In 0..30.
        generator: Lives on the CPU whatever the images' device.
    """
    images = images.clone()
    for _ in range(operations):
        drawn = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
        signs = torch.randint(2, (len(images),), generator=generator) * (drawn < SIGNED)
        for kind, sign in product(range(1, len(OPERATIONS)), (0, 1)):
            members = torch.nonzero((drawn == kind) & (signs == sign)).flatten().to(images.device)
            if len(members):
                images[members] = OPERATIONS[kind](images[members], (1 - 2 * sign) * magnitude / (BINS - 1))
    return images
