"""Plain modules: a network and a pair, built from plans, as they are evaluated, fine-tuned and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nas_service.block import Block, unfold
from nas_service.layers import LayerRecord
from nas_service.plan import NetworkPlan, PairPlan
from workers.wiring import WIRINGS, Wiring, wiring_for

BATCH_NORM_EPS = 1e-5


class ConvUnit(nn.Module):
    """Convolution, BatchNorm and, if the record says so, ReLU."""

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
        return F.relu_(y) if self.activation else y


class AddUnit(nn.Module):
    """The sum of two tensors and, if the record says so, ReLU."""

    def __init__(self, record: LayerRecord) -> None:
        super().__init__()
        self.activation = record.activation

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Return `x + shortcut`, both of one shape."""
        y = x + shortcut
        return F.relu_(y) if self.activation else y


class PlainBlock(nn.Module):
    """The units of one block, joined by the wiring of its kind."""

    def __init__(self, block: Block, size: int, *, wirings: Mapping[str, Wiring]) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            AddUnit(record) if record.operation == "add" else ConvUnit(record) for record in unfold(block, size)
        )
        self.wiring = wiring_for(wirings, block.kind)

    def fold(self) -> None:
        """Fold the BatchNorm statistics that the units have now into their convolutions, for good."""
        for index, unit in enumerate(self.units):
            if isinstance(unit, ConvUnit):
                folded: list[nn.Module] = [fuse_conv_bn_eval(unit.convolution, unit.norm)]
                self.units[index] = nn.Sequential(*folded, *([nn.ReLU(inplace=True)] if unit.activation else []))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.wiring(list(self.units), x)


class Network(nn.Module):
    """One classifier: blocks, global average pooling, a linear head."""

    def __init__(self, plan: NetworkPlan, *, wirings: Mapping[str, Wiring] = WIRINGS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(block, size, wirings=wirings) for block, size in plan.sizes())
        self.head = nn.Linear(plan.blocks[-1].out_channels, plan.classes)

    def features(self, x: Tensor, stop: int) -> Tensor:
        """Return the output of the first `stop` blocks for images (N, C, H, W)."""
        for block in list(self.blocks)[:stop]:
            x = block(x)
        return x

    def tail(self, x: Tensor, start: int) -> Tensor:
        """Return the logits (N, classes) from the output of the first `start` blocks."""
        for block in list(self.blocks)[start:]:
            x = block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, C, H, W)."""
        return self.tail(x, 0)


class Pair(nn.Module):
    """A little and a big network; blocks that run once are the same module in both.

    Escalated logits are `big + alpha * little`, so that escalation combines what both nets say
    (as committees do: Wang et al., Wisdom of Committees, ICLR 2022).
    """

    def __init__(self, plan: PairPlan, *, wirings: Mapping[str, Wiring] = WIRINGS, alpha: float = 0.0) -> None:
        super().__init__()
        self.plan = plan
        self.shared_blocks = plan.shared_blocks
        self.alpha = alpha
        self.little = Network(plan.little, wirings=wirings)
        self.big = Network(plan.big, wirings=wirings)
        for index in range(plan.shared_blocks):
            self.big.blocks[index] = self.little.blocks[index]

    def escalate(self, carried: Tensor, little_logits: Tensor) -> Tensor:
        """Return escalated logits (N, classes) from the carried features, or from images if nothing is shared."""
        return self.big.tail(carried, self.shared_blocks) + self.alpha * little_logits

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits, both (N, classes), of images (N, C, H, W)."""
        carried = self.little.features(x, self.shared_blocks)
        little_logits = self.little.tail(carried, self.shared_blocks)
        return little_logits, self.escalate(carried, little_logits)
