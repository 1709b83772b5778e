"""A small MSDNet, built from its plan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge_agent.records import stable_hash
from workers.baselines.msdnet_plan import MsdLayer, MsdPlan
from workers.baselines.multi_exit import MultiExit
from workers.network import UnitBlock

Features = dict[int, Tensor]  # by scale, 0 the finest


class Chain(UnitBlock):
    """Convolutions one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the last one's output."""
        for unit in self.units:
            x = unit(x)
        return x


class Layer(nn.Module):
    """One layer: to each scale's features its new ones are appended; then the transition, if there is one."""

    def __init__(self, plan: MsdLayer) -> None:
        super().__init__()
        self.scales = [part.scale for part in plan.scales]
        self.same = nn.ModuleList(Chain(part.same) for part in plan.scales)
        self.finer = nn.ModuleList(Chain(part.finer) for part in plan.scales)
        self.transition = nn.ModuleList(Chain([record]) for record in plan.transition)
        self.strided = [bool(part.finer) for part in plan.scales]

    def forward(self, features: Features) -> Features:
        """Return the features of the scales that go on."""
        grown: Features = {}
        for index, scale in enumerate(self.scales):
            parts = [features[scale], self.same[index](features[scale])]
            if self.strided[index]:
                parts.append(self.finer[index](features[scale - 1]))
            grown[scale] = torch.cat(parts, dim=1)
            if len(self.transition):
                grown[scale] = self.transition[index](grown[scale])
        return grown


class MsdHead(nn.Module):
    """Convolution, pooling, linear."""

    def __init__(self, plan: MsdPlan, exit_index: int) -> None:
        super().__init__()
        convolution, _, linear = plan.head(exit_index)
        self.convolution = Chain([convolution])
        self.linear = nn.Linear(linear.in_channels, linear.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, classes) of the coarsest features."""
        logits: Tensor = self.linear(self.convolution(features).mean((2, 3)))
        return logits


class MsdNet(MultiExit):
    """The net of `plan`."""

    def __init__(self, plan: MsdPlan, *, boosted: bool = False) -> None:
        key = stable_hash({"msdnet": plan.to_dict()})
        super().__init__(exits=plan.exits, classes=plan.classes, key=key, boosted=boosted)
        self.plan = plan
        self.stem = nn.ModuleList(Chain([record]) for record in plan.stem())
        self.layers = nn.ModuleList(Layer(layer) for layer in plan.layers())
        self.classifiers = nn.ModuleList(MsdHead(plan, index) for index in range(plan.exits))

    def heads(self, images: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Return the logits of every wanted exit; blocks after the last wanted one are not run."""
        features: Features = {}
        for scale, convolution in enumerate(self.stem):
            features[scale] = convolution(features[scale - 1] if scale else images)
        found: list[Tensor | None] = []
        layers = iter(self.layers)
        for classifier, size, want in zip(self.classifiers, self.plan.block_sizes(), wanted, strict=True):
            if not any(wanted[len(found) :]):
                found.append(None)
                continue
            for _ in range(size):
                features = next(layers)(features)
            found.append(classifier(features[self.plan.scales - 1]) if want else None)
        return found
