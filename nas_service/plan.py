"""Plans: a pair of networks, decoded from an architecture, as a value.

A plan holds everything that costs, constraints, module building and export need, and no weights. In the words of the
project: the *little* answers first; on escalation the *tail* runs, which is the part of the big network that the little
did not already compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nas_service.block import Block, output_size, unfold
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, macs, params, structure_key

Coupling = Literal["independent", "stem", "nested", "triangular"]
COUPLINGS: tuple[Coupling, ...] = ("independent", "stem", "nested", "triangular")
EXPORT_VERSION = 1  # part of every structure key: raise it when exported graphs change in a way that costs time


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """One classifier: blocks in order, global average pooling, a linear head.

    Attributes:
        channels: Channels of the input image.
        resolution: Side of the square input image, in pixels.
        blocks: The blocks in order of execution.
        classes: Number of classes, at least 2.
        head: The name of the linear head's weights: `big`, `little` or `nested`.
    """

    channels: int
    resolution: int
    blocks: tuple[Block, ...]
    classes: int
    head: str

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise InvalidRequestError(f"a classifier needs at least 2 classes but the data set has {self.classes}")
        widths = [self.channels, *(block.out_channels for block in self.blocks)]
        for block, width in zip(self.blocks, widths, strict=False):
            if block.in_channels != width:
                raise InvalidRequestError(f"block {block.slot} reads {block.in_channels} channels but is given {width}")

    def sizes(self) -> Iterator[tuple[Block, int]]:
        """Yield each block with the side of its input."""
        size = self.resolution
        for block in self.blocks:
            yield block, size
            size = output_size(size, block.stride)

    def head_layers(self) -> tuple[LayerRecord, ...]:
        """Return the records of the pooling and the linear head."""
        width = self.blocks[-1].out_channels
        return (
            LayerRecord(operation="pool", in_channels=width, out_channels=width),
            LayerRecord(operation="linear", in_channels=width, out_channels=self.classes),
        )

    def layers(self, start: int = 0, stop: int | None = None) -> tuple[LayerRecord, ...]:
        """Return the records of blocks `start` up to `stop`; with `stop` None, of the head as well."""
        pairs = list(self.sizes())[start:stop]
        records = tuple(layer for block, size in pairs for layer in unfold(block, size))
        return records if stop is not None else records + self.head_layers()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPlan:
    """A little and a big network and how they are coupled.

    Attributes:
        coupling: How the halves share weights and work.
        little: The network that always runs.
        big: The whole big network, as it would run alone.
        shared_blocks: Leading blocks that both halves have in common and that run once; their output is carried.
    """

    coupling: Coupling
    little: NetworkPlan
    big: NetworkPlan
    shared_blocks: int = 0

    def __post_init__(self) -> None:
        shared = self.shared_blocks
        if self.little.blocks[:shared] != self.big.blocks[:shared]:
            raise InvalidRequestError(
                f"the first {shared} blocks of both halves must be equal for coupling {self.coupling}"
            )

    def tail_layers(self) -> tuple[LayerRecord, ...]:
        """Return the records that run on escalation, after the little."""
        return self.big.layers(start=self.shared_blocks)

    @property
    def little_macs(self) -> int:
        """MACs of the little: spent on every input."""
        return macs(self.little.layers())

    @property
    def tail_macs(self) -> int:
        """MACs that escalation adds."""
        return macs(self.tail_layers())

    @property
    def big_macs(self) -> int:
        """MACs of the big network alone."""
        return macs(self.big.layers())

    def params(self) -> int:
        """Return the learnable parameters of the pair, weights that both halves slice counted once.

        Where both halves use one tensor, the larger slice is counted; BatchNorm and heads count once per set.
        """
        weights: dict[tuple[str, str, str, int], int] = {}
        norms: dict[tuple[str, str, str, str, int], int] = {}
        for network in (self.little, self.big):
            for block, size in network.sizes():
                for index, layer in enumerate(unfold(block, size)):
                    scale_and_shift = 2 * layer.out_channels if layer.operation == "conv" else 0
                    key = (block.bank, block.slot, block.kind, index)
                    weights[key] = max(weights.get(key, 0), layer.params - scale_and_shift)
                    norms[(*key[:3], block.norm, index)] = scale_and_shift
        heads = {network.head: params(network.head_layers()) for network in (self.little, self.big)}
        return sum(weights.values()) + sum(norms.values()) + sum(heads.values())

    def deployed_weights(self) -> int:
        """Return how many numbers the two exported graphs store."""
        return sum(layer.deployed_weights for layer in (*self.little.layers(), *self.tail_layers()))

    def costs(self) -> dict[str, float]:
        """Return the analytic costs: MACs of both routes, parameters, KiB of float32 weights as deployed."""
        return {
            "little_macs": self.little_macs,
            "tail_macs": self.tail_macs,
            "big_macs": self.big_macs,
            "worst_macs": self.little_macs + self.tail_macs,
            "params": self.params(),
            "weights_kib": self.deployed_weights() * 4 / 1024,
        }

    def structures(self, router: str) -> dict[str, str]:
        """Return the weight-free keys of the two exported graphs, `little` and `big`, under `router`."""
        inputs = {"channels": self.little.channels, "resolution": self.little.resolution, "export": EXPORT_VERSION}
        return {
            "little": structure_key(
                self.little.layers(),
                context={**inputs, "half": "little", "router": router, "carried": self.shared_blocks},
            ),
            "big": structure_key(self.tail_layers(), context={**inputs, "half": "big", "carried": self.shared_blocks}),
        }
