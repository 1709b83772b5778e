"""Weight banks: which tensors a space needs, how large, and which part of each a layer uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from nas_service.block import Block, unfold
from nas_service.layers import LayerRecord
from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from nas_service.plan import NetworkPlan, PairPlan
from nas_service.space_definition import stage_kinds

WeightShape = tuple[int, int, int]  # output channels, input channels in a group, side of the kernel


@dataclass(frozen=True, slots=True)
class Slice:
    """One layer of a plan and the names of the weight and of the BatchNorm parameters that it slices, from `start`."""

    record: LayerRecord
    weight: str
    norm: str
    start: int = 0


@dataclass(slots=True)
class BankShapes:
    """The largest size of every tensor, by name."""

    weights: dict[str, WeightShape] = field(default_factory=dict)
    norms: dict[str, int] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        """Make room for `block`."""
        for part in slices(block, size=1):
            record = part.record
            if record.operation == "conv":
                need = (record.out_channels, record.in_channels // record.groups, record.kernel)
                have = self.weights.get(part.weight, (0, 0, 0))
                self.weights[part.weight] = tuple(map(max, have, need))  # type: ignore[assignment]
                self.norms[part.norm] = max(self.norms.get(part.norm, 0), record.out_channels)

    def hold(self, plan: PairPlan) -> bool:
        """Return whether every layer of `plan` finds its tensors."""
        for network in (plan.little, plan.big):
            for record, weight, norm in ((s.record, s.weight, s.norm) for s in convolutions(network)):
                out, inputs, kernel = self.weights.get(weight, (0, 0, 0))
                if record.out_channels > min(out, self.norms.get(norm, 0)) or record.kernel > kernel:
                    return False
                if record.in_channels // record.groups > inputs:
                    return False
            if network.blocks[-1].out_channels > self.heads.get(network.head, 0):
                return False
        return True


def slices(block: Block, size: int) -> tuple[Slice, ...]:
    """Return the layers of `block` on an input of side `size`, with the names of their tensors."""
    name = f"{block.bank}/{block.slot}/{block.kind}".replace(".", "_")
    return tuple(
        Slice(record=record, weight=f"{name}/{index}", norm=f"{name}/{index}/{block.norm}")
        for index, record in enumerate(unfold(block, size))
    )


@lru_cache(maxsize=1024)
def block_slices(plan: NetworkPlan) -> tuple[tuple[Block, tuple[Slice, ...]], ...]:
    """Return each block of `plan` with its layers and the names of their tensors."""
    return tuple((block, slices(block, size)) for block, size in plan.sizes())


@lru_cache(maxsize=1024)
def convolutions(plan: NetworkPlan) -> tuple[Slice, ...]:
    """Return the convolutions of `plan`, in order."""
    return tuple(s for _, parts in block_slices(plan) for s in parts if s.record.operation == "conv")


@lru_cache(maxsize=1024)
def tail_slices(plan: PairPlan) -> tuple[tuple[Slice | None, ...], ...]:
    """Return the layers of each tail block of a triangular `plan`; None for a layer of which nothing is computed."""
    return tuple(
        tuple(
            None if layer.record is None else replace(part, record=layer.record, start=layer.start)
            for layer, part in zip(tail.layers, slices(tail.block, size=1), strict=True)
        )
        for tail in plan.tail_blocks()
    )


def crop(weight: Tensor, record: LayerRecord, *, start: int = 0) -> Tensor:
    """Return the channels from `start` on and the centre of the kernel of `weight` (out, in, k, k) that `record` uses.

    Of the input channels it uses the first.
    """
    inputs = record.in_channels // record.groups
    if weight.shape[0] != record.out_channels:
        weight = weight[start : start + record.out_channels]
    if weight.shape[1] != inputs:
        weight = weight[:, :inputs]
    if margin := (weight.shape[2] - record.kernel) // 2:
        weight = weight[:, :, margin:-margin, margin:-margin]
    return weight


def section(tensor: Tensor, count: int, *, start: int = 0) -> Tensor:
    """Return `count` elements of a vector from `start` on; the vector itself if that is all of it."""
    return tensor if len(tensor) == count else tensor[start : start + count]


def initial_weight(shape: WeightShape, generator: torch.Generator) -> torch.nn.Parameter:
    """Return a convolution weight drawn as He et al. (ICCV 2015) recommend for ReLU, by its fan-out."""
    out, inputs, kernel = shape
    fan_out = kernel**2 * (out if inputs > 1 else 1)
    weight = torch.randn(out, inputs, kernel, kernel, generator=generator) * math.sqrt(2 / fan_out)
    return torch.nn.Parameter(weight.contiguous(memory_format=torch.channels_last))


def bank_shapes(space: PairSpace) -> BankShapes:
    """Return the tensors that the pairs of `space` need, each at the largest size that any of them uses."""
    definition, shapes = space.definition, BankShapes()
    for half, bank, norm in _users(definition):
        stage_choices: tuple[StageChoices, ...] = getattr(definition, half)
        if norm != "tail":  # the stem of a triangular pair is the little's
            for block in _stem_blocks(definition, channels=space.channels, half=half, bank=bank, norm=norm):
                shapes.add(block)
        inputs: Sequence[int] = definition.stem_widths
        for index, choices in enumerate(stage_choices):
            kinds = definition.big[index].kinds if bank == "big" else choices.kinds
            address = (index, bank, norm, definition.blocks)
            for block in _stage_blocks(choices, kinds, inputs, definition.strides[index], address):
                shapes.add(block)
            inputs = choices.widths
        shapes.heads[norm] = stage_choices[-1].widths[-1]
    return shapes


def _users(definition: SpaceDefinition) -> Iterable[tuple[str, str, str]]:
    """Yield (half, bank, norm) of every network that some coupling has."""
    yield "big", "big", "big"
    if set(definition.couplings) & {"independent", "stem"}:
        yield "little", "little", "little"
    if "nested" in definition.couplings:
        yield "little", "big", "nested"
    if "triangular" in definition.couplings:
        yield "little", "big", "triangular"
        yield "big", "big", "tail"


def _stem_blocks(definition: SpaceDefinition, *, channels: int, half: str, bank: str, norm: str) -> Iterator[Block]:
    depth = max(definition.stem_depths) if half == "big" or norm == "triangular" else 1
    for width in definition.stem_widths:
        yield Block(
            kind="conv",
            in_channels=channels,
            out_channels=width,
            stride=definition.stem_stride,
            bank=bank,
            slot="stem.0",
            norm=norm,
        )
        for position in range(1, depth):
            yield Block(
                kind="separable", in_channels=width, out_channels=width, bank=bank, slot=f"stem.{position}", norm=norm
            )


def _stage_blocks(
    choices: StageChoices,
    kinds: Sequence[str],
    inputs: Sequence[int],
    stride: int,
    address: tuple[int, str, str, str | None],
) -> Iterator[Block]:
    index, bank, norm, table = address
    options = product(kinds, choices.widths, choices.kernels, choices.expansions, range(choices.depths[-1]))
    for kind, width, kernel, expansion, position in options:
        for channels in inputs if position == 0 else (width,):
            yield Block(
                kind=stage_kinds(table)[kind][min(position, 1)],
                in_channels=channels,
                out_channels=width,
                kernel=kernel,
                stride=stride if position == 0 else 1,
                expansion=expansion,
                bank=bank,
                slot=f"stage{index}.{position}",
                norm=norm,
                table=table,
            )
