"""A small MSDNet as a value: dense connections at several scales, heads on the coarsest.

Huang et al., Multi-Scale Dense Networks for Resource Efficient Image Classification (ICLR 2018), section 4 and
appendix A: scale s has 2^s times the width of the finest; every layer adds features from its own and from the next
finer scale, through a bottleneck; block k has `base + k * step` layers (`lin_grow`); the finest scale is dropped after
each third of the layers, followed by a transition that halves the channels. Departures: heads of one convolution in
place of two, and, where the MACs pay for nothing else, less growth at the coarse scales, blocks of equal depth, fewer
scales, or twice the stem's stride: the source's smallest nets cost ten times what is compared here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas_service.block import MIN_CHANNELS, output_size
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, macs, params

NARROWEST = 0.9  # of the MACs asked for: below that a net does not match them
SMALLEST_SIDE = 2
WIDEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MsdScale:
    """What one layer adds at one scale: from that scale, and with stride 2 from the next finer one, if it has one."""

    scale: int
    same: tuple[LayerRecord, ...]
    finer: tuple[LayerRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MsdLayer:
    """One layer: what it adds, finest scale first, and the transition of each of these scales, or none."""

    scales: tuple[MsdScale, ...]
    transition: tuple[LayerRecord, ...] = ()

    def records(self) -> tuple[LayerRecord, ...]:
        """Return all records of the layer."""
        return (*(r for scale in self.scales for r in (*scale.same, *scale.finer)), *self.transition)


@dataclass(frozen=True, slots=True, kw_only=True)
class MsdPlan:
    """An MSDNet.

    Attributes:
        channels: Of the image.
        resolution: Side of the image.
        classes: Number of classes.
        stem_stride: Stride of the first convolution.
        width: Channels of the finest scale's first features.
        growth: Channels that a layer adds at the finest scale.
        head_width: Channels of a head's convolution.
        factors: Width and growth of each scale over the finest's; their number is the number of scales.
        exits: Number of heads, and of blocks.
        base: Layers of the first block.
        step: Layers that each block has more than the one before.
    """

    channels: int
    resolution: int
    classes: int
    stem_stride: int = 1
    width: int = 16
    growth: int = 8
    head_width: int = 32
    factors: tuple[int, ...] = (1, 2, 4)
    exits: int = 3
    base: int = 1
    step: int = 1

    def __post_init__(self) -> None:
        if min(self.width, self.growth, self.head_width) < MIN_CHANNELS:
            raise InvalidRequestError(
                f"MSDNet of width {self.width}, growth {self.growth}, heads {self.head_width}; give at least "
                f"{MIN_CHANNELS} channels"
            )
        if self.exits < 2 or self.scales < 2 or self.base < 1 or self.step < 0:
            raise InvalidRequestError(
                f"MSDNet of {self.exits} exits, {self.scales} scales, base {self.base}, step {self.step}; give at "
                "least 2, 2, 1 and 0"
            )
        if self.growth * min(self.factors[1:]) < 2 * MIN_CHANNELS:
            raise InvalidRequestError(
                f"growth {self.growth} with factors {self.factors} halves to fewer than {MIN_CHANNELS} channels at a "
                "coarser scale; give more growth"
            )
        if self.sides()[-1] < SMALLEST_SIDE:
            raise InvalidRequestError(
                f"images of {self.resolution}x{self.resolution} are too small for {self.scales} scales; use fewer"
            )

    @property
    def scales(self) -> int:
        """Number of scales."""
        return len(self.factors)

    def sides(self) -> tuple[int, ...]:
        """Return the side of each scale's features."""
        return _sides(self.resolution, self.stem_stride, self.scales)

    def block_sizes(self) -> tuple[int, ...]:
        """Return the number of layers of each block."""
        return tuple(self.base + index * self.step for index in range(self.exits))

    def stem(self) -> tuple[LayerRecord, ...]:
        """Return one convolution for each scale; each reads the one before."""
        inputs = (self.channels, *(self.width * f for f in self.factors[:-1]))
        return tuple(
            _conv(inputs[s], self.width * self.factors[s], side, kernel=3, stride=self.stem_stride if s == 0 else 2)
            for s, side in enumerate(self.sides())
        )

    def layers(self) -> tuple[MsdLayer, ...]:
        """Return all layers in order."""
        total = sum(self.block_sizes())
        interval = -(-total // self.scales)
        widths = [self.width * factor for factor in self.factors]
        found = []
        for index in range(total):
            first_in, first_out = max(0, index - 1) // interval, index // interval
            scales = tuple(self._scale(s, widths, finest=first_in) for s in range(first_out, self.scales))
            for part in scales:
                widths[part.scale] += sum(path[-1].out_channels for path in (part.same, part.finer) if path)
            halved: tuple[LayerRecord, ...] = ()
            if first_out > first_in:
                halved = tuple(
                    _conv(widths[s], max(MIN_CHANNELS, widths[s] // 2), self.sides()[s], kernel=1)
                    for s in range(first_out, self.scales)
                )
                widths[first_out:] = [record.out_channels for record in halved]
            found.append(MsdLayer(scales=scales, transition=halved))
        return tuple(found)

    def _scale(self, scale: int, widths: list[int], *, finest: int) -> MsdScale:
        factor, side = self.factors[scale], self.sides()[scale]
        grown = self.growth * factor
        if scale == finest:
            return MsdScale(scale=scale, same=_bottleneck(widths[scale], grown, side, factor=factor), finer=())
        same = _bottleneck(widths[scale], grown // 2, side, factor=factor)
        finer = _bottleneck(
            widths[scale - 1], grown // 2, side, factor=factor, stride=2, inner_side=self.sides()[scale - 1]
        )
        return MsdScale(scale=scale, same=same, finer=finer)

    def coarsest_widths(self) -> tuple[int, ...]:
        """Return the channels of the coarsest scale at the end of each block."""
        width, ends, layers = self.width * self.factors[-1], [], iter(self.layers())
        for size in self.block_sizes():
            for layer in (next(layers) for _ in range(size)):
                last = layer.scales[-1]
                width += sum(path[-1].out_channels for path in (last.same, last.finer) if path)
                width = layer.transition[-1].out_channels if layer.transition else width
            ends.append(width)
        return tuple(ends)

    def head(self, exit_index: int) -> tuple[LayerRecord, ...]:
        """Return the records of one head: convolution, pooling, linear."""
        read, side = self.coarsest_widths()[exit_index], self.sides()[-1]
        return (
            _conv(read, self.head_width, output_size(side, 2), kernel=3, stride=2),
            LayerRecord(operation="pool", in_channels=self.head_width, out_channels=self.head_width),
            LayerRecord(operation="linear", in_channels=self.head_width, out_channels=self.classes),
        )

    def blocks(self) -> tuple[tuple[LayerRecord, ...], ...]:
        """Return the records that each exit adds to the ones before."""
        layers, parts = iter(self.layers()), []
        for index, size in enumerate(self.block_sizes()):
            added = [record for _ in range(size) for record in next(layers).records()]
            parts.append((*(self.stem() if index == 0 else ()), *added, *self.head(index)))
        return tuple(parts)

    def exit_macs(self) -> tuple[int, ...]:
        """Return the MACs of an input that leaves at each exit, the heads it passed included."""
        spent, cumulative = 0, []
        for records in self.blocks():
            spent += macs(records)
            cumulative.append(spent)
        return tuple(cumulative)

    def records(self) -> tuple[LayerRecord, ...]:
        """Return the records of the whole net."""
        return tuple(record for records in self.blocks() for record in records)

    def params(self) -> int:
        """Return the learnable parameters."""
        return params(self.records())

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-able data."""
        return asdict(self)


def match_macs(plan: MsdPlan, target: float) -> MsdPlan:
    """Return `plan` at the width and growth, in steps of 4, that cost the most MACs of at most `target`.

    Where even the narrowest costs more, with the factors of the coarse scales lowered, with a scale less, with blocks
    of equal depth, or with twice the stem's stride, as far as needed.

    Raises:
        InvalidRequestError: nothing comes within a tenth below `target`.
    """
    least, nearest = float("inf"), 0
    for family in _families(plan):
        for cost, candidate in _widths(family, target):
            least = min(least, cost)
            if nearest < cost <= target:
                nearest, best = cost, candidate
        if nearest >= NARROWEST * target:
            return best
    raise InvalidRequestError(
        f"no MSDNet of {plan.exits} exits comes near {target:,.0f} MACs: the smallest costs {least:,}, the nearest "
        f"below {nearest:,}; change the MACs, exits or stem_stride"
    )


def _families(plan: MsdPlan) -> Iterator[MsdPlan]:
    """Yield variants, the source's own first."""
    shapes = [plan.factors, (1, *[2] * (plan.scales - 1)), (1,) * plan.scales]
    shapes += [shape[:-1] for shape in shapes if plan.scales > 2]
    for stride in (plan.stem_stride, 2 * plan.stem_stride):
        for step in sorted({plan.step, 0}, reverse=True):
            for factors in dict.fromkeys(shapes):
                if _sides(plan.resolution, stride, len(factors))[-1] >= SMALLEST_SIDE:
                    yield replace(plan, factors=factors, stem_stride=stride, step=step, growth=2 * MIN_CHANNELS)


def _widths(family: MsdPlan, target: float) -> Iterator[tuple[int, MsdPlan]]:
    """Yield the variant's MACs at all widths and growths up to the first that costs more; no growth exceeds a width."""
    lowest = max(MIN_CHANNELS, 2 * MIN_CHANNELS // min(family.factors[1:]))
    for width in range(lowest, WIDEST + 1, 4):
        for growth in range(lowest, width + 1, 4):
            candidate = replace(family, width=width, growth=growth)
            cost = candidate.exit_macs()[-1]
            yield cost, candidate
            if cost > target:
                if growth == lowest:
                    return
                break


def _sides(resolution: int, stem_stride: int, scales: int) -> tuple[int, ...]:
    sides = [output_size(resolution, stem_stride)]
    for _ in range(1, scales):
        sides.append(output_size(sides[-1], 2))
    return tuple(sides)


def _conv(inputs: int, outputs: int, side: int, *, kernel: int, stride: int = 1) -> LayerRecord:
    return LayerRecord(
        operation="conv",
        in_channels=inputs,
        out_channels=outputs,
        kernel=kernel,
        stride=stride,
        size=side,
        activation="relu",
    )


def _bottleneck(
    inputs: int, outputs: int, side: int, *, factor: int, stride: int = 1, inner_side: int | None = None
) -> tuple[LayerRecord, ...]:
    """1×1 to at most `factor` times the outputs, then 3×3."""
    inner = min(inputs, factor * outputs)
    return (
        _conv(inputs, inner, side if inner_side is None else inner_side, kernel=1),
        _conv(inner, outputs, side, kernel=3, stride=stride),
    )
