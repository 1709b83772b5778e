"""Plans: a pair of networks, decoded from an architecture, as a value.

A plan holds everything that costs, constraints, module building and export need, and no weights. In the words of the
project: the *little* answers first; on escalation the *tail* runs, which is the part of the big network that the little
did not already compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from nas_service.block import Block, block_totals, output_size, unfold
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, Totals, added, params, structure_key, totals
from nas_service.triangle import TailBlock, tail_blocks

Coupling = Literal["independent", "stem", "nested", "triangular"]
COUPLINGS: tuple[Coupling, ...] = ("independent", "stem", "nested", "triangular")
RESIZABLE: tuple[Coupling, ...] = ("independent", "nested")  # where the little starts from the image by itself
LEAST_SCALE = 0.5  # a bilinear resize to less of the side would skip pixels
EXPORT_VERSION = 1  # part of every structure key: raise it when exported graphs change in a way that costs time


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """One classifier: blocks in order, global average pooling, a linear head.

    Attributes:
        channels: Channels of the input image.
        resolution: Side of the square input image, in pixels.
        blocks: The blocks in order of execution.
        classes: Number of classes, at least 2.
        head: The name of the linear head's weights: `big`, `little`, `nested`, `triangular` or `tail`.
        resized: Side to which the network resizes the image before its first block; None leaves the image as it is.
    """

    channels: int
    resolution: int
    blocks: tuple[Block, ...]
    classes: int
    head: str
    resized: int | None = None

    def __post_init__(self) -> None:
        if self.resized is not None and not LEAST_SCALE * self.resolution <= self.resized < self.resolution:
            raise InvalidRequestError(
                f"images of side {self.resolution} cannot be resized to {self.resized}; choose a side from "
                f"{LEAST_SCALE:g} of it to below it"
            )
        if self.classes < 2:
            raise InvalidRequestError(f"a classifier needs at least 2 classes but the data set has {self.classes}")
        widths = [self.channels, *(block.out_channels for block in self.blocks)]
        for block, width in zip(self.blocks, widths, strict=False):
            if block.in_channels != width:
                raise InvalidRequestError(f"block {block.slot} reads {block.in_channels} channels but is given {width}")

    def sizes(self) -> Iterator[tuple[Block, int]]:
        """Yield each block with the side of its input."""
        size = self.resized or self.resolution
        for block in self.blocks:
            yield block, size
            size = output_size(size, block.stride)

    def head_layers(self) -> tuple[LayerRecord, LayerRecord]:
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
        if self.resized and not start:
            resize = LayerRecord(
                operation="resize", in_channels=self.channels, out_channels=self.channels, size=self.resized
            )
            records = (resize, *records)
        return records if stop is not None else records + self.head_layers()

    def totals(self, start: int = 0, stop: int | None = None) -> Totals:
        """Return the sums over the layers that `layers` returns."""
        parts = [block_totals(block, size) for block, size in list(self.sizes())[start:stop]]
        return added(parts if stop is not None else [*parts, totals(self.head_layers())])


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPlan:
    """A little and a big network and how they are coupled.

    Attributes:
        coupling: How the halves share weights and work.
        little: The network that always runs.
        big: The whole big network, as it would run alone; of a `triangular` pair, in its whole widths, though the
            little's channels in it are the little's own.
        shared_blocks: Leading blocks that both halves have in common and that run once; their output is carried.
    """

    coupling: Coupling
    little: NetworkPlan
    big: NetworkPlan
    shared_blocks: int = 0

    def __post_init__(self) -> None:
        shared = self.shared_blocks
        if self.big.resized or (self.little.resized and self.coupling not in RESIZABLE):
            raise InvalidRequestError(
                f"a {self.coupling} pair cannot resize the image; the little of {' and '.join(RESIZABLE)} pairs can"
            )
        if self.little.blocks[:shared] != self.big.blocks[:shared]:
            raise InvalidRequestError(
                f"the first {shared} blocks of both halves must be equal for coupling {self.coupling}"
            )
        self.tail_blocks()

    def tail_blocks(self) -> tuple[TailBlock, ...]:
        """Return what escalation computes of each block of a `triangular` big; empty for other couplings."""
        return _tail_blocks(self.little, self.big, self.shared_blocks) if self.coupling == "triangular" else ()

    def tail_layers(self) -> tuple[LayerRecord, ...]:
        """Return the records that run on escalation, after the little."""
        if self.coupling != "triangular":
            return self.big.layers(start=self.shared_blocks)
        return (*(record for tail in self.tail_blocks() for record in tail.records()), *self._tail_head())

    def _tail_head(self) -> tuple[LayerRecord, LayerRecord]:
        pool, linear = self.big.head_layers()
        own = pool.out_channels - self.little.blocks[-1].out_channels
        return replace(pool, in_channels=own, out_channels=own), linear

    @property
    def little_macs(self) -> int:
        """MACs of the little: spent on every input."""
        return self.little.totals().macs

    @property
    def tail_macs(self) -> int:
        """MACs that escalation adds."""
        return self._tail_totals().macs

    @property
    def big_macs(self) -> int:
        """MACs of the big network alone; of a `triangular` one, the little's channels included."""
        if self.coupling == "triangular":
            return self.little.totals(stop=len(self.little.blocks)).macs + self.tail_macs
        return self.big.totals().macs

    def params(self) -> int:
        """Return the learnable parameters of the pair, weights that both halves slice counted once.

        Where both halves of a `nested` pair use one tensor, the larger slice is counted; BatchNorm and heads count once
        per set. The halves of other pairs have nothing in common but the blocks that run once.
        """
        if self.coupling != "nested":
            return self.little.totals().params + self._tail_totals().params
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
        return self.little.totals().deployed_weights + self._tail_totals().deployed_weights

    def _tail_totals(self) -> Totals:
        if self.coupling != "triangular":
            return self.big.totals(start=self.shared_blocks)
        return added([*(tail.totals for tail in self.tail_blocks()), totals(self._tail_head())])

    def costs(self) -> dict[str, float]:
        """Return the analytic costs: MACs of both routes, parameters, KiB of float32 weights as deployed."""
        little_macs, tail_macs = self.little_macs, self.tail_macs
        return {
            "little_macs": little_macs,
            "tail_macs": tail_macs,
            "big_macs": self.big_macs,
            "worst_macs": little_macs + tail_macs,
            "params": self.params(),
            "weights_kib": self.deployed_weights() * 4 / 1024,
        }

    def structures(self, router: str) -> dict[str, str]:
        """Return the weight-free keys of the two exported graphs, `little` and `big`, under `router`."""
        inputs = {"channels": self.little.channels, "resolution": self.little.resolution, "export": EXPORT_VERSION}
        given, taken = self._carried()
        return {
            "little": structure_key(
                self.little.layers(), context={**inputs, "half": "little", "router": router, "carried": given}
            ),
            "big": structure_key(self.tail_layers(), context={**inputs, "half": "big", "carried": taken}),
        }

    def _carried(self) -> tuple[Any, Any]:
        """Return what shapes the tensors between the graphs: those that the little gives and the tail takes."""
        if self.coupling != "triangular":
            return self.shared_blocks, self.shared_blocks
        tails = self.tail_blocks()
        readers = [[t.block.slot, i] for t in tails for i, layer in enumerate(t.layers) if layer.record is not None]
        return readers, [[t.block.slot, t.lacking, *(layer.start for layer in t.layers)] for t in tails]


@lru_cache(maxsize=1024)
def _tail_blocks(little: NetworkPlan, big: NetworkPlan, shared: int) -> tuple[TailBlock, ...]:
    return tail_blocks(tuple(little.sizes()), tuple(big.sizes()), shared=shared)
