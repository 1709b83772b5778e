"""Layer records: the arithmetic of a network without its weights.

A record says what one layer computes. Parameters, multiply-accumulates (MACs), the weight-free structure key and a
latency predictor's features all come from records; `workers` builds its modules from the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError

Operation = Literal["conv", "linear", "pool", "add", "scale", "resize"]
Activation = Literal["relu", "hardswish", "silu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One layer of a network.

    Attributes:
        operation: `conv` (convolution, BatchNorm and `activation`), `linear`, `pool` (global average), `add`
            (sum of two tensors), `scale` (every channel times the hard sigmoid of its gate) or `resize` (of the image,
            bilinear).
        in_channels: Channels (or features) read.
        out_channels: Channels (or features) written.
        kernel: Side of the square kernel; 1 for everything but `conv`.
        stride: 1 or 2.
        size: Side of the square output, in pixels; 1 for `pool` and `linear`.
        groups: Convolution groups; `in_channels` for a depthwise convolution.
        activation: The function that follows, one of `ACTIVATIONS`; None for none.
    """

    operation: Operation
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    size: int = 1
    groups: int = 1
    activation: Activation | None = None

    def __post_init__(self) -> None:
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise InvalidRequestError(
                f"{self.in_channels} channels in, {self.out_channels} out: not divisible into {self.groups} groups; "
                "choose widths that the groups divide"
            )
        if self.kernel % 2 == 0 or min(self.in_channels, self.out_channels, self.size, self.stride) < 1:
            raise InvalidRequestError(f"no such layer: {asdict(self)}; kernels are odd, everything else is at least 1")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise InvalidRequestError(
                f"activation is {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}, or None for none"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input image; what has no weights counts none."""
        if self.operation == "conv":
            return self.kernel**2 * (self.in_channels // self.groups) * self.out_channels * self.size**2
        return self.in_channels * self.out_channels if self.operation == "linear" else 0

    @property
    def params(self) -> int:
        """Learnable parameters in training: weights, and BatchNorm's scale and shift or the linear layer's bias."""
        if self.operation == "conv":
            return self.kernel**2 * (self.in_channels // self.groups) * self.out_channels + 2 * self.out_channels
        return self.in_channels * self.out_channels + self.out_channels if self.operation == "linear" else 0

    @property
    def deployed_weights(self) -> int:
        """Numbers stored once BatchNorm is folded into the convolution: weights and one bias per output channel."""
        return self.params - (self.out_channels if self.operation == "conv" else 0)


class Totals(NamedTuple):
    """The sums of `LayerRecord`'s `macs`, `params` and `deployed_weights` over some layers."""

    macs: int
    params: int
    deployed_weights: int


def totals(layers: Iterable[LayerRecord]) -> Totals:
    """Return the sums over `layers`."""
    return added((layer.macs, layer.params, layer.deployed_weights) for layer in layers)


def added(parts: Iterable[tuple[int, int, int]]) -> Totals:
    """Return the sums of several parts' totals."""
    macs_, params_, deployed = 0, 0, 0
    for part in parts:
        macs_, params_, deployed = macs_ + part[0], params_ + part[1], deployed + part[2]
    return Totals(macs_, params_, deployed)


def macs(layers: Iterable[LayerRecord]) -> int:
    """Return the multiply-accumulates of `layers` for one image."""
    return sum(layer.macs for layer in layers)


def params(layers: Iterable[LayerRecord]) -> int:
    """Return the learnable parameters of `layers`."""
    return sum(layer.params for layer in layers)


def structure_key(layers: Iterable[LayerRecord], *, context: dict[str, Any]) -> str:
    """Return the weight-free key of a graph: equal keys cost the same on one board, whatever the weights.

    Args:
        layers: The layers in order of execution.
        context: Whatever else shapes the graph: half, router, input sizes, carried tensors, export version.
    """
    return stable_hash({"layers": [asdict(layer) for layer in layers], "context": context})
