"""Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) of a batch, as torchvision computes them.

torchvision draws from torch's global generator, so that one is set from the run's own for the call, and put back.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp

from workers.data.augmentation import Augmentation


def mix(
    images: Tensor, labels: Tensor, *, classes: int, spec: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images blended with their neighbours in the batch, or with a window cut out of them, and soft labels.

    If `spec` has both, every batch takes one or the other, equally often.

    Args:
        images: (N, C, H, W) float32, normalised.
        labels: (N,) int64.
        classes: Number of classes.
        spec: Its `mixup` and `cutmix`, of which one at least is above 0.
        generator: Lives on the CPU whatever the images' device.

    Returns:
        Images as they came, channels last, and (N, classes) float32 targets whose rows sum to 1.
    """
    kinds = [kind(alpha=alpha, num_classes=classes) for kind, alpha in _alphas(spec) if alpha > 0]
    chosen, seed = torch.randint(2**31 - 1, (2,), generator=generator).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        mixed, targets = kinds[chosen % len(kinds)](images, labels)
    return mixed.contiguous(memory_format=torch.channels_last), targets.float()


def _alphas(spec: Augmentation) -> tuple[tuple[type[MixUp | CutMix], float], ...]:
    return (MixUp, spec.mixup), (CutMix, spec.cutmix)
