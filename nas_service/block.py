"""Blocks: what a stage is made of, and the layer records each kind of block unfolds into.

A block is also the address of its weights: `bank` names the elastic network that holds them, `slot` the position there,
and `norm` the set of BatchNorm parameters to use, since a slice that serves two networks needs statistics of its own
(Yu et al., Slimmable Neural Networks, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from nas_service.errors import InvalidRequestError
from nas_service.import_path import imported
from nas_service.layers import Activation, LayerRecord, Totals, totals

OPERATIONS = ("conv", "add", "pool", "scale")  # what a block may be made of
MIN_CHANNELS = 8  # below this, training in channels_last corrupts memory in some torch builds, and boards gain nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a network and the address of its weights in the supernet.

    Attributes:
        kind: A key of `BLOCKS`, or of the user's own table.
        in_channels: Channels read.
        out_channels: Channels written, at least 8.
        kernel: Side of the (spatial) kernel, odd.
        stride: 1 or 2.
        expansion: Inner width over input width, for kinds that have an inner width.
        activation: The function that follows its convolutions, where one does.
        bank: The elastic network whose weights it slices: `big` or `little`.
        slot: Its position there, such as `stage1.0`.
        norm: The set of BatchNorm parameters: `big`, `little`, `nested`, `triangular` or `tail`.
        table: `package.module:object`, the user's own table of kinds; None for `BLOCKS` alone.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    expansion: int = 1
    activation: Activation = "relu"
    bank: str
    slot: str
    norm: str
    table: str | None = None

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
        return {k: v for k, v in asdict(self).items() if k not in ("bank", "slot", "norm", "table")}


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
            activation=block.activation,
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
        activation=block.activation,
    )


def _pointwise(inputs: int, outputs: int, size: int, *, activation: Activation | None, stride: int = 1) -> LayerRecord:
    return LayerRecord(
        operation="conv", in_channels=inputs, out_channels=outputs, size=size, stride=stride, activation=activation
    )


def squeeze_width(channels: int) -> int:
    """Return the inner width of squeeze-and-excitation: about a quarter of `channels`, in steps of 8.

    Steps of 8, since the widths of a triangular pair's halves are equal or differ by at least 8.
    """
    return max(MIN_CHANNELS, MIN_CHANNELS * round(channels / (4 * MIN_CHANNELS)))


def _gate(channels: int, size: int) -> tuple[LayerRecord, ...]:
    """Squeeze-and-excitation (Hu et al., CVPR 2018): pool, squeeze, excite, scale.

    The gate is the hard sigmoid of MobileNetV3 (Howard et al., ICCV 2019). Both layers have BatchNorm where the sources
    have biases, so that a slice recalibrates like any other; folded, they are the same.
    """
    inner = squeeze_width(channels)
    return (
        LayerRecord(operation="pool", in_channels=channels, out_channels=channels),
        _pointwise(channels, inner, 1, activation="relu"),
        _pointwise(inner, channels, 1, activation=None),
        LayerRecord(operation="scale", in_channels=channels, out_channels=channels, size=size),
    )


def _separable(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Depthwise k×k, then pointwise (Howard et al., MobileNets, 2017), with a shortcut where shapes allow.

    The shortcut is that of Chollet's Xception (CVPR 2017).
    """
    out = output_size(size, block.stride)
    return (
        _depthwise(block.in_channels, block, size),
        _pointwise(block.in_channels, block.out_channels, out, activation=block.activation),
        *_identity(block, out),
    )


def _separable_se(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """As `separable`, with squeeze-and-excitation between its layers."""
    depthwise, *rest = _separable(block, size)
    return (depthwise, *_gate(block.in_channels, depthwise.size), *rest)


def _identity(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """The sum with the block's input, if that has the shape of its output."""
    if block.stride != 1 or block.in_channels != block.out_channels:
        return ()
    return (LayerRecord(operation="add", in_channels=block.out_channels, out_channels=block.out_channels, size=size),)


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
        activation=block.activation,
    )
    second = replace(first, in_channels=block.out_channels, stride=1, activation=None)
    add = LayerRecord(
        operation="add",
        in_channels=block.out_channels,
        out_channels=block.out_channels,
        size=out,
        activation=block.activation,
    )
    if block.stride == 1 and block.in_channels == block.out_channels:
        return first, second, add
    shortcut = _pointwise(block.in_channels, block.out_channels, out, activation=None, stride=block.stride)
    return first, second, shortcut, add


def _inverted(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Expand, depthwise, project, with a shortcut where shapes allow (Sandler et al., MobileNetV2, CVPR 2018)."""
    out, hidden = output_size(size, block.stride), block.in_channels * block.expansion
    return (
        _pointwise(block.in_channels, hidden, size, activation=block.activation),
        _depthwise(hidden, block, size),
        _pointwise(hidden, block.out_channels, out, activation=None),
        *_identity(block, out),
    )


def _inverted_se(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """As `inverted`, with squeeze-and-excitation before the projection (Howard et al., MobileNetV3, ICCV 2019)."""
    expand, depthwise, *rest = _inverted(block, size)
    return (expand, depthwise, *_gate(depthwise.out_channels, depthwise.size), *rest)


BLOCKS: dict[str, Unfold] = {
    "conv": _conv,
    "separable": _separable,
    "separable_se": _separable_se,
    "residual": _residual,
    "inverted": _inverted,
    "inverted_se": _inverted_se,
}


@lru_cache(maxsize=64)
def block_kinds(table: str | None) -> Mapping[str, Unfold]:
    """Return `BLOCKS`, and the user's own kinds at `table`, a `package.module:object`.

    Raises:
        InvalidRequestError: the table cannot be imported, is no mapping, or gives a kind of `BLOCKS` another meaning.
    """
    if table is None:
        return BLOCKS
    own = imported(table, what=f"blocks {table!r}", hint="give package.module:object on the Python path")
    if not isinstance(own, Mapping):
        raise InvalidRequestError(f"blocks {table!r} is a {type(own).__name__} but must map block kinds to functions")
    if taken := sorted(own.keys() & BLOCKS.keys()):
        raise InvalidRequestError(f"blocks {table!r} defines {taken[0]!r}, which there is already; choose another name")
    return {**BLOCKS, **own}


@lru_cache(maxsize=65536)
def unfold(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """Return the layer records of `block` on a square input of side `size`.

    Raises:
        InvalidRequestError: an unknown kind, or a layer that cannot be, such as one whose groups do not divide it.
    """
    kinds = block_kinds(block.table)
    if block.kind not in kinds:
        raise InvalidRequestError(f"unknown block kind {block.kind!r}; choose one of: {', '.join(kinds)}")
    try:
        records = tuple(kinds[block.kind](block, size))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"block {block.slot} of kind {block.kind!r}: {error}") from None
    if other := [record.operation for record in records if record.operation not in OPERATIONS]:
        raise InvalidRequestError(
            f"block {block.slot} of kind {block.kind!r} has a layer of operation {other[0]!r}; "
            f"choose from: {', '.join(OPERATIONS)}"
        )
    return records


@lru_cache(maxsize=65536)
def block_totals(block: Block, size: int) -> Totals:
    """Return the sums over the layers of `block` on a square input of side `size`."""
    return totals(unfold(block, size))


@lru_cache(maxsize=1024)
def reads(kind: str, name: Literal["kernel", "expansion"], *, table: str | None = None) -> bool:
    """Return whether blocks of `kind` depend on their `kernel` or `expansion`, whichever `name` says.

    A kind that cannot be built with 16 channels is taken to depend on both.
    """
    probe = Block(kind=kind, in_channels=16, out_channels=16, bank="big", slot="probe", norm="big", table=table)
    other = replace(probe, kernel=5) if name == "kernel" else replace(probe, expansion=5)
    try:
        return unfold(probe, 8) != unfold(other, 8)
    except InvalidRequestError:
        return True
