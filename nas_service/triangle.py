"""The tail of a triangular pair: what is left of the big once the little's channels are there.

Every layer of the big has two parts, the little's channels, which come first and read nothing else, and channels of its
own, which read all (as in Sun et al., SteppingNet, DATE 2023). The tail computes the second part alone. Of a block that
the little lacks, the little's channels come out as they went in; inside, all of its channels are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from nas_service.block import MIN_CHANNELS, Block, unfold
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, Totals, totals

Sized = tuple[Block, int]  # a block and the side of its input


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLayer:
    """What the tail computes of one layer of the big.

    Attributes:
        record: The layer that computes the channels past `start`; None if there are none.
        start: Channels that come first and are not computed here.
        mirrored: Whether the little has this layer, so that its output is the first `start` channels.
    """

    record: LayerRecord | None
    start: int
    mirrored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TailBlock:
    """What the tail computes of one block of the big.

    Attributes:
        block: The big's block, in its whole width.
        layers: One for each layer that the block unfolds into.
        start: The little's channels in the block's output.
        lacking: Whether the little lacks the block.
        totals: The sums over what is computed.
    """

    block: Block
    layers: tuple[TailLayer, ...]
    start: int
    lacking: bool
    totals: Totals

    def records(self) -> Iterator[LayerRecord]:
        """Yield the records of what is computed."""
        yield from (layer.record for layer in self.layers if layer.record is not None)


def tail_blocks(little: Sequence[Sized], big: Sequence[Sized], *, shared: int) -> tuple[TailBlock, ...]:
    """Return the big's blocks past the `shared` first as the tail computes them.

    Args:
        little: The little's blocks.
        big: The big's blocks, in their whole widths.
        shared: Leading blocks of both that are the little's alone, at least the stem.

    Raises:
        InvalidRequestError: if the little is not part of the big in the way that the module describes.
    """
    twins = {block.slot: block for block, _ in little[shared:]}
    if shared < 1 or [block.slot for block, _ in big[shared:] if block.slot in twins] != list(twins):
        raise InvalidRequestError(
            f"the little's blocks {list(twins)} are not all among the big's, in order, behind a shared stem; "
            "a triangular little has the first blocks of each of the big's stages"
        )
    start, tails = little[shared - 1][0].out_channels, []
    for block, size in big[shared:]:
        twin = twins.get(block.slot)
        start = twin.out_channels if twin else start
        tails.append(_tail_block(block, twin, size, start))
    return tuple(tails)


@lru_cache(maxsize=65536)
def _tail_block(block: Block, twin: Block | None, size: int, start: int) -> TailBlock:
    _check(block, twin, start)
    layers = tuple(_layers(block, twin, size, start))
    sums = totals(layer.record for layer in layers if layer.record is not None)
    return TailBlock(block=block, layers=layers, start=start, lacking=twin is None, totals=sums)


def _check(block: Block, twin: Block | None, start: int) -> None:
    if block.out_channels - start < MIN_CHANNELS:
        raise InvalidRequestError(
            f"block {block.slot} has {block.out_channels} channels and the little {start}, but behind the shared "
            f"blocks a triangular big has at least {MIN_CHANNELS} more; choose other widths"
        )
    if twin and (twin.kind, twin.kernel, twin.stride) != (block.kind, block.kernel, block.stride):
        raise InvalidRequestError(
            f"block {block.slot} is {twin.kind} {twin.kernel} stride {twin.stride} in the little but {block.kind} "
            f"{block.kernel} stride {block.stride} in the big; a triangular pair has the same in both"
        )
    if twin is None and (block.stride != 1 or block.in_channels != block.out_channels):
        raise InvalidRequestError(
            f"the little lacks block {block.slot}, which changes the resolution or the width; give it one like it"
        )


def _layers(block: Block, twin: Block | None, size: int, start: int) -> Iterator[TailLayer]:
    records = unfold(block, size)
    mirrors = unfold(twin, size) if twin else ()
    last = max(i for i, record in enumerate(records) if record.operation == "conv")
    for index, record in enumerate(records):
        mirror = mirrors[index] if index < len(mirrors) and mirrors[index].operation == record.operation else None
        if mirror:
            yield TailLayer(record=_own(record, mirror.out_channels, block), start=mirror.out_channels, mirrored=True)
        else:
            first = 0 if twin is None and index < last else start
            yield TailLayer(record=_own(record, first, block), start=first, mirrored=False)


def _own(record: LayerRecord, start: int, block: Block) -> LayerRecord | None:
    """Return the part of `record` that computes its channels from `start` on, from all that it reads."""
    width = record.out_channels - start
    if width == 0:
        return None
    if width < MIN_CHANNELS:
        raise InvalidRequestError(
            f"inside block {block.slot} the big has {record.out_channels} channels and the little {start}; "
            f"they must be as many, or differ by at least {MIN_CHANNELS}: choose other widths or expansions"
        )
    if record.operation == "conv" and record.groups == 1:
        return replace(record, out_channels=width)
    if record.operation == "conv" and record.groups != record.in_channels:
        raise InvalidRequestError(
            f"block {block.slot} has {record.groups} groups of {record.in_channels} channels; a triangular pair can "
            "split plain and depthwise convolutions only"
        )
    groups = width if record.operation == "conv" else 1
    return replace(record, in_channels=width, out_channels=width, groups=groups)
