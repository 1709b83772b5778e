"""A backbone with early heads, built from its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from edge_agent.records import stable_hash
from nas_service.plan import NetworkPlan
from workers.baselines.exit_plan import ExitPlan
from workers.baselines.multi_exit import MultiExit, plan_key
from workers.joints import resized
from workers.network import Network, PlainBlock
from workers.wiring import WIRINGS, Wiring


class Head(nn.Module):
    """An early head: blocks of its own, if any, global average pooling, a linear layer."""

    def __init__(self, plan: NetworkPlan, *, wirings: Mapping[str, Wiring]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(block, size, wirings=wirings) for block, size in plan.sizes())
        self.linear = nn.Linear(plan.blocks[-1].out_channels if plan.blocks else plan.channels, plan.classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, classes) of features (N, C, H, W)."""
        for block in self.blocks:
            features = block(features)
        logits: Tensor = self.linear(features.mean((2, 3)))
        return logits


class ExitNetwork(MultiExit):
    """The early heads of `plan` in order, then the backbone's own."""

    def __init__(self, plan: ExitPlan, *, boosted: bool = False, wirings: Mapping[str, Wiring] = WIRINGS) -> None:
        own = [[head.after, [block.shape() for block in head.blocks]] for head in plan.heads]
        key = stable_hash({"backbone": plan_key(plan.backbone), "heads": own})
        super().__init__(exits=len(plan.heads) + 1, classes=plan.backbone.classes, key=key, boosted=boosted)
        self.plan = plan
        self.backbone = Network(plan.backbone, wirings=wirings)
        self.early = nn.ModuleList(Head(head.plan(plan.backbone), wirings=wirings) for head in plan.heads)

    def heads(self, images: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Return the logits of every wanted exit; heads that are not, and blocks after the last one, are not run."""
        x, done = resized(images, self.plan.backbone.resized), 0
        found: list[Tensor | None] = []
        for place, head, want in zip(self.plan.heads, self.early, wanted, strict=False):
            if not any(wanted[len(found) :]):
                return [*found, *[None] * (self.exits - len(found))]
            for block in list(self.backbone.blocks)[done : place.after]:
                x = block(x)
            done = place.after
            found.append(head(x) if want else None)
        found.append(self.backbone.tail(x, done) if wanted[-1] else None)
        return found
