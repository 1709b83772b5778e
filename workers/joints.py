"""Activations and the layers without weights: what they compute, alike in the plain network and in the supernet."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from nas_service.layers import Activation, LayerRecord

Joint = Callable[..., Tensor]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu_, "hardswish": F.hardswish, "silu": F.silu}
_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hardswish": nn.Hardswish, "silu": nn.SiLU}


def activated(x: Tensor, activation: Activation | None) -> Tensor:
    """Return what the activation makes of `x`, which may be changed in place; `x` itself if it is None."""
    return x if activation is None else _FUNCTIONS[activation](x)


def activation_modules(activation: Activation | None) -> list[nn.Module]:
    """Return the activation as a module of its own, in a list; an empty list for None."""
    return [] if activation is None else [_MODULES[activation]()]


def resized(x: Tensor, side: int | None) -> Tensor:
    """Return images (N, C, H, W) at (N, C, side, side), bilinear; as they are if `side` is None."""
    if side is None:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def _add(record: LayerRecord, x: Tensor, shortcut: Tensor) -> Tensor:
    y = x + shortcut
    return activated(y, record.activation)


def _pool(record: LayerRecord, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _scale(record: LayerRecord, x: Tensor, gate: Tensor) -> Tensor:
    y = x * F.hardsigmoid(gate)
    return activated(y, record.activation)


JOINTS: dict[str, Joint] = {"add": _add, "pool": _pool, "scale": _scale}
