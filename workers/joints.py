"""The layers without weights: what they compute, alike in the plain network and in the supernet."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from nas_service.layers import LayerRecord

Joint = Callable[..., Tensor]


def resized(x: Tensor, side: int | None) -> Tensor:
    """Return images (N, C, H, W) at (N, C, side, side), bilinear; as they are if `side` is None."""
    if side is None:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def _add(record: LayerRecord, x: Tensor, shortcut: Tensor) -> Tensor:
    y = x + shortcut
    return F.relu_(y) if record.activation else y


def _pool(record: LayerRecord, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _scale(record: LayerRecord, x: Tensor, gate: Tensor) -> Tensor:
    y = x * F.hardsigmoid(gate)
    return F.relu_(y) if record.activation else y


JOINTS: dict[str, Joint] = {"add": _add, "pool": _pool, "scale": _scale}
