"""Plain modules: a network and a pair, built from plans, as they are evaluated, fine-tuned and exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nas_service.block import Block, unfold
from nas_service.layers import LayerRecord
from nas_service.plan import NetworkPlan, PairPlan
from workers.joints import JOINTS, activated, activation_modules, resized
from workers.triangle import POOLED, Carried, noted, output_name, tail_features
from workers.wiring import WIRINGS, Unit, Wiring, wiring_for

BATCH_NORM_EPS = 1e-5


class ConvUnit(nn.Module):
    """Convolution, BatchNorm and the record's activation."""

    def __init__(self, record: LayerRecord) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            record.in_channels,
            record.out_channels,
            record.kernel,
            stride=record.stride,
            padding=record.kernel // 2,
            groups=record.groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(record.out_channels, eps=BATCH_NORM_EPS)
        self.activation = record.activation

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, H', W') of (N, in, H, W)."""
        y: Tensor = self.norm(self.convolution(x))
        return activated(y, self.activation)


class JointUnit(nn.Module):
    """A layer without weights: a sum, a pooling, a scaling."""

    def __init__(self, record: LayerRecord) -> None:
        super().__init__()
        self.record, self.compute = record, JOINTS[record.operation]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what the layer makes of its inputs."""
        return self.compute(self.record, *inputs)


class UnitBlock(nn.Module):
    """The units of one block, or of the tail's part of it."""

    def __init__(self, records: Iterable[LayerRecord]) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            ConvUnit(record) if record.operation == "conv" else JointUnit(record) for record in records
        )

    def fold(self) -> None:
        """Fold the BatchNorm statistics that the units have now into their convolutions, for good."""
        for index, unit in enumerate(self.units):
            if isinstance(unit, ConvUnit):
                folded = fuse_conv_bn_eval(unit.convolution, unit.norm)
                self.units[index] = nn.Sequential(folded, *activation_modules(unit.activation))


class PlainBlock(UnitBlock):
    """The units of one block, joined by the wiring of its kind."""

    def __init__(self, block: Block, size: int, *, wirings: Mapping[str, Wiring]) -> None:
        super().__init__(unfold(block, size))
        self.wiring, self.slot = wiring_for(wirings, block.kind), block.slot

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.wiring(list(self.units), x)

    def noting(self, x: Tensor, activations: dict[str, Tensor]) -> Tensor:
        """Return the block's output; it and the outputs of the units are added to `activations`."""
        y = activations[output_name(self.slot)] = self.wiring(noted(list(self.units), self.slot, activations), x)
        return y


class Network(nn.Module):
    """One classifier: blocks, global average pooling, a linear head."""

    def __init__(self, plan: NetworkPlan, *, wirings: Mapping[str, Wiring] = WIRINGS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(block, size, wirings=wirings) for block, size in plan.sizes())
        self.head = nn.Linear(plan.blocks[-1].out_channels, plan.classes)
        self.resized = plan.resized

    def features(self, x: Tensor, stop: int) -> Tensor:
        """Return the output of the first `stop` blocks for images (N, C, H, W); the images themselves for none."""
        x = resized(x, self.resized if stop else None)
        for block in list(self.blocks)[:stop]:
            x = block(x)
        return x

    def tail(self, x: Tensor, start: int) -> Tensor:
        """Return the logits (N, classes) from the output of the first `start` blocks, or from images for none."""
        x = resized(x, None if start else self.resized)
        for block in list(self.blocks)[start:]:
            x = block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits

    def noting(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits (N, classes) of images (N, C, H, W), and all activations by name."""
        activations: dict[str, Tensor] = {}
        x = resized(x, self.resized)
        for block in self.blocks:
            x = block.noting(x, activations)  # type: ignore[operator]
        activations[POOLED] = x.mean((2, 3))
        return self.head(activations[POOLED]), activations

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, C, H, W)."""
        return self.tail(x, 0)


class TailNetwork(nn.Module):
    """The big of a triangular pair, less the little's channels."""

    def __init__(self, plan: PairPlan, *, wirings: Mapping[str, Wiring] = WIRINGS) -> None:
        super().__init__()
        self.plan, self.wirings = plan, wirings
        self.blocks = nn.ModuleList(UnitBlock(tail.records()) for tail in plan.tail_blocks())
        self.head = nn.Linear(plan.big.blocks[-1].out_channels, plan.big.classes)

    def forward(self, carried: Carried) -> Tensor:
        """Return the logits (N, classes) from the little's activations."""
        units: list[list[Unit | None]] = []
        for block, tail in zip(self.blocks, self.plan.tail_blocks(), strict=True):
            present = iter(block.units)  # type: ignore[arg-type]
            units.append([None if layer.record is None else next(present) for layer in tail.layers])
        logits: Tensor = self.head(tail_features(self.plan, units, carried, wirings=self.wirings))
        return logits


class Pair(nn.Module):
    """A little and a big network; blocks that run once are the same module in both.

    What the little hands to the big is *carried*, by name: `image`, where nothing is shared, `carry_stem`, or, in a
    triangular pair, the little's activations as `workers.triangle` names them.
    Escalated logits are `big + alpha * little`, so that escalation combines what both nets say
    (as committees do: Wang et al., Wisdom of Committees, ICLR 2022).
    """

    def __init__(self, plan: PairPlan, *, wirings: Mapping[str, Wiring] = WIRINGS, alpha: float = 0.0) -> None:
        super().__init__()
        self.plan = plan
        self.shared_blocks = plan.shared_blocks
        self.alpha = alpha
        self.little = Network(plan.little, wirings=wirings)
        if plan.coupling == "triangular":
            self.big: Network | TailNetwork = TailNetwork(plan, wirings=wirings)
            return
        self.big = Network(plan.big, wirings=wirings)
        for index in range(plan.shared_blocks):
            self.big.blocks[index] = self.little.blocks[index]

    def answer(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the little's logits (N, classes) of images (N, C, H, W), and what may be carried, by name."""
        if isinstance(self.big, TailNetwork):
            return self.little.noting(x)
        carried = self.little.features(x, self.shared_blocks)
        logits = self.little.tail(carried, self.shared_blocks)
        return logits, {"carry_stem" if self.shared_blocks else "image": carried}

    def escalate(self, carried: Carried, little_logits: Tensor) -> Tensor:
        """Return escalated logits (N, classes) from what the little carried and its logits."""
        if isinstance(self.big, TailNetwork):
            return self.big(carried) + self.alpha * little_logits
        (features,) = carried.values()
        return self.big.tail(features, self.shared_blocks) + self.alpha * little_logits

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits, both (N, classes), of images (N, C, H, W)."""
        little_logits, carried = self.answer(x)
        return little_logits, self.escalate(carried, little_logits)
