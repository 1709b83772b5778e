"""Early exits as a value: heads on a backbone, placed by what they cost.

After Teerapittayanon et al., BranchyNet (ICPR 2016): a branch leaves the main network early and has layers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas_service.block import MIN_CHANNELS, Block, output_size
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, macs, params
from nas_service.plan import NetworkPlan

MOST_BLOCKS = 6  # of a head's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitHead:
    """A classifier on the output of the backbone's first `after` blocks: blocks of its own, pooling, linear."""

    after: int
    blocks: tuple[Block, ...] = ()

    def plan(self, backbone: NetworkPlan) -> NetworkPlan:
        """Return the head as a network that reads the backbone's features."""
        read, side = features_after(backbone, self.after)
        return NetworkPlan(channels=read, resolution=side, blocks=self.blocks, classes=backbone.classes, head="little")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPlan:
    """A backbone with early heads; the backbone's own head is the last exit.

    Attributes:
        backbone: The network that runs whole when nothing leaves early.
        heads: By ascending place, one for each, none after the last block.
    """

    backbone: NetworkPlan
    heads: tuple[ExitHead, ...]

    def __post_init__(self) -> None:
        places, last = [head.after for head in self.heads], len(self.backbone.blocks) - 1
        if not places or places != sorted(set(places)) or places[0] < 1 or places[-1] > last:
            raise InvalidRequestError(
                f"exits after blocks {places} of a backbone of {last + 1}; place them after 1 to {last}, ascending"
            )
        for head in self.heads:
            head.plan(self.backbone)

    def head_layers(self, head: ExitHead) -> tuple[LayerRecord, ...]:
        """Return the records that an early exit adds to the backbone."""
        plan = head.plan(self.backbone)
        if plan.blocks:
            return plan.layers()
        pool = LayerRecord(operation="pool", in_channels=plan.channels, out_channels=plan.channels)
        return pool, LayerRecord(operation="linear", in_channels=plan.channels, out_channels=plan.classes)

    def exit_macs(self) -> tuple[int, ...]:
        """Return the MACs of an input that leaves at each exit, the heads it passed included."""
        spent, cumulative = 0, []
        for head in self.heads:
            spent += macs(self.head_layers(head))
            cumulative.append(macs(self.backbone.layers(stop=head.after)) + spent)
        return (*cumulative, macs(self.backbone.layers()) + spent)

    def records(self) -> tuple[LayerRecord, ...]:
        """Return the records of the backbone and all heads."""
        return (*self.backbone.layers(), *(record for head in self.heads for record in self.head_layers(head)))

    def params(self) -> int:
        """Return the learnable parameters."""
        return params(self.records())


def place_exits(backbone: NetworkPlan, targets: Sequence[float]) -> ExitPlan:
    """Return early heads that cost at most `targets` MACs, cumulative and ascending, and as near them as possible.

    Each exit is put as deep as its MACs pay for, and what is left goes into separable blocks of its own.

    Raises:
        InvalidRequestError: a target that no place reaches, or one that the whole backbone does not exceed.
    """
    whole = macs(backbone.layers())
    heads: list[ExitHead] = []
    for target in targets:
        if target >= whole:
            raise InvalidRequestError(
                f"an exit at {target:,.0f} MACs of a backbone of {whole:,} is no early one; give less than the backbone"
            )
        heads.append(_place(backbone, tuple(heads), target))
    return ExitPlan(backbone=backbone, heads=tuple(heads))


def _place(backbone: NetworkPlan, heads: tuple[ExitHead, ...], target: float) -> ExitHead:
    first, last = heads[-1].after + 1 if heads else 1, len(backbone.blocks) - 1

    def cost(head: ExitHead) -> int:
        return ExitPlan(backbone=backbone, heads=(*heads, head)).exit_macs()[len(heads)]

    for after in range(last, first - 1, -1):
        if cost(ExitHead(after=after)) <= target:
            return max((h for h in _heads(backbone, after) if cost(h) <= target), key=cost)
    least = f"the first place left costs {cost(ExitHead(after=first)):,}" if first <= last else "no place is left"
    raise InvalidRequestError(f"no exit at {target:,.0f} MACs: {least}; give more MACs or fewer exits")


def _heads(backbone: NetworkPlan, after: int) -> Iterator[ExitHead]:
    """Yield heads of 0 to `MOST_BLOCKS` separable blocks.

    As in the backbone, the side is halved down to its last, and the width doubled at the same time, up to its last.
    """
    yield ExitHead(after=after)
    widest, (_, smallest) = backbone.blocks[-1].out_channels, features_after(backbone, len(backbone.blocks))
    for start in range(MIN_CHANNELS, widest + 1, MIN_CHANNELS):
        blocks: tuple[Block, ...] = ()
        read, side = features_after(backbone, after)
        width = start
        for index in range(MOST_BLOCKS):
            block = Block(
                kind="separable",
                in_channels=read,
                out_channels=width,
                stride=2 if side > smallest else 1,
                activation=backbone.blocks[-1].activation,
                bank="little",
                slot=f"exit{after}.{index}",
                norm="little",
            )
            blocks, read, side = (*blocks, block), width, output_size(side, block.stride)
            width = min(widest, 2 * width) if side > smallest else width
            yield ExitHead(after=after, blocks=blocks)


def features_after(backbone: NetworkPlan, after: int) -> tuple[int, int]:
    """Return channels and side of the output of the first `after` blocks."""
    block, size = list(backbone.sizes())[after - 1]
    return block.out_channels, output_size(size, block.stride)
