"""Blocks: what a stage is made of, and the layer records each kind of block unfolds into.

A block is also the address of its weights: `bank` names the elastic network that holds them, `slot` the position there,
and `norm` the set of BatchNorm parameters to use, since a slice that serves two networks needs statistics of its own
(Yu et al., Slimmable Neural Networks, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord

MIN_CHANNELS = 8  # below this, training in channels_last corrupts memory in some torch builds, and boards gain nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a network and the address of its weights in the supernet.

    Attributes:
        kind: A key of `BLOCKS`, or of a user's own table.
        in_channels: Channels read.
        out_channels: Channels written, at least 8.
        kernel: Side of the (spatial) kernel, odd.
        stride: 1 or 2.
        expansion: Inner width over input width, for kinds that have an inner width.
        bank: The elastic network whose weights it slices: `big` or `little`.
        slot: Its position there, such as `stage1.0`.
        norm: The set of BatchNorm parameters: `big`, `little`, `nested`, `triangular` or `tail`.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    expansion: int = 1
    bank: str
    slot: str
    norm: str

    def __post_init__(self) -> None:
        if self.out_channels < MIN_CHANNELS:
            raise InvalidRequestError(
                f"block {self.slot} has {self.out_channels} channels but needs at least {MIN_CHANNELS}; widen the space"
            )
        if self.kernel % 2 == 0 or self.stride not in (1, 2):
            raise InvalidRequestError(
                f"block {self.slot} has kernel {self.kernel} and stride {self.stride}; kernels are odd, strides 1 or 2"
            )

    def shape(self) -> dict[str, Any]:
        """Return what shapes the block's computation, without the address of its weights."""
        return {k: v for k, v in asdict(self).items() if k not in ("bank", "slot", "norm")}


Unfold = Callable[[Block, int], tuple[LayerRecord, ...]]


def output_size(size: int, stride: int) -> int:
    """Return the output side of a same-padded layer of `stride` on a square input of side `size`."""
    return -(-size // stride)


def _conv(block: Block, size: int) -> tuple[LayerRecord, ...]:
    return (
        LayerRecord(
            operation="conv",
            in_channels=block.in_channels,
            out_channels=block.out_channels,
            kernel=block.kernel,
            stride=block.stride,
            size=output_size(size, block.stride),
            activation=True,
        ),
    )


def _depthwise(channels: int, block: Block, size: int) -> LayerRecord:
    return LayerRecord(
        operation="conv",
        in_channels=channels,
        out_channels=channels,
        kernel=block.kernel,
        stride=block.stride,
        size=output_size(size, block.stride),
        groups=channels,
        activation=True,
    )


def _pointwise(inputs: int, outputs: int, size: int, *, activation: bool, stride: int = 1) -> LayerRecord:
    return LayerRecord(
        operation="conv", in_channels=inputs, out_channels=outputs, size=size, stride=stride, activation=activation
    )


def _separable(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Depthwise k×k, then pointwise (Howard et al., MobileNets, 2017)."""
    out = output_size(size, block.stride)
    return (
        _depthwise(block.in_channels, block, size),
        _pointwise(block.in_channels, block.out_channels, out, activation=True),
    )


def _residual(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Two k×k convolutions round a shortcut, projected where the shape changes (He et al., CVPR 2016)."""
    out = output_size(size, block.stride)
    first = LayerRecord(
        operation="conv",
        in_channels=block.in_channels,
        out_channels=block.out_channels,
        stride=block.stride,
        kernel=block.kernel,
        size=out,
        activation=True,
    )
    second = replace(first, in_channels=block.out_channels, stride=1, activation=False)
    add = LayerRecord(
        operation="add", in_channels=block.out_channels, out_channels=block.out_channels, size=out, activation=True
    )
    if block.stride == 1 and block.in_channels == block.out_channels:
        return first, second, add
    shortcut = _pointwise(block.in_channels, block.out_channels, out, activation=False, stride=block.stride)
    return first, second, shortcut, add


def _inverted(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Expand, depthwise, project, with a shortcut where shapes allow (Sandler et al., MobileNetV2, CVPR 2018)."""
    out, hidden = output_size(size, block.stride), block.in_channels * block.expansion
    layers = (
        _pointwise(block.in_channels, hidden, size, activation=True),
        _depthwise(hidden, block, size),
        _pointwise(hidden, block.out_channels, out, activation=False),
    )
    if block.stride == 1 and block.in_channels == block.out_channels:
        return (
            *layers,
            LayerRecord(operation="add", in_channels=block.out_channels, out_channels=block.out_channels, size=out),
        )
    return layers


BLOCKS: dict[str, Unfold] = {
    "conv": _conv,
    "separable": _separable,
    "residual": _residual,
    "inverted": _inverted,
}


def unfold(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Return the layer records of `block` on a square input of side `size`; InvalidRequestError for an unknown kind."""
    if block.kind not in BLOCKS:
        raise InvalidRequestError(f"unknown block kind {block.kind!r}; choose one of: {', '.join(BLOCKS)}")
    return BLOCKS[block.kind](block, size)
