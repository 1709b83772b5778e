"""What happens to a batch between memory and network: crop, flip, random operations, normalise, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.data.augmentation import Augmentation


def augment(images: Tensor, spec: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Return (N, C, H, W) uint8 images after `spec`; `generator` lives on the CPU whatever the images' device."""
    count, _, height, width = images.shape
    if spec.pad:
        sides = 2 * spec.pad + 1
        offsets = torch.randint(sides, (2, count), generator=generator).t().tolist()
        padded = F.pad(images, [spec.pad] * 4)
        windows = [padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(offsets)]
        images = torch.stack(windows)  # at 224 pixels in a quarter of the time that one gather takes
    if spec.flip:
        flipped = torch.randint(2, (count, 1, 1, 1), generator=generator).bool().to(images.device)
        images = torch.where(flipped, images.flip(3), images)
    if spec.randaugment:
        from workers.data.randaugment import randaugment  # torchvision's transforms take a second to import

        images = randaugment(images, operations=spec.randaugment, magnitude=spec.magnitude, generator=generator)
    return images


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return uint8 (N, C, H, W) images as float32 `(x / 255 - mean) / std`, laid out channels last."""
    shape = (1, len(mean), 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    floats = images.to(torch.float32, memory_format=torch.channels_last)
    return floats.div_(255).sub_(centre).div_(scale)


def batches(
    images: Tensor, mean: Sequence[float], std: Sequence[float], *, size: int, chosen: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield uint8 `images` normalised, in order, `size` at a time.

    Those at the indices `chosen` (N,), in their order, if it is given: only a batch of them is ever copied.
    """
    chunks = images.split(size) if chosen is None else (images[part] for part in chosen.split(size))
    for chunk in chunks:
        yield normalise(chunk, mean, std)
