"""Nets with one exit or several, as plain modules, and how they are drawn, copied for scoring, and checked."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from nas_service.plan import NetworkPlan
from workers.bank import initial_weight
from workers.evaluation import fold, recalibrate
from workers.network import Network
from workers.wiring import WIRINGS, Wiring

Net = TypeVar("Net", bound=nn.Module)


class MultiExit(nn.Module, ABC):
    """A net that answers at one exit or several; the last is the whole net's answer.

    Boosted (Yu et al., Boosted Dynamic Neural Networks, AAAI 2023): an exit's logits are added to the sum of those
    before, through which no gradient flows, so that each learns what the ones before lack.

    Args:
        exits: Number of exits.
        classes: Number of classes.
        key: Equal for nets whose weights have the same names and shapes and mean the same.
        boosted: Whether logits are added up.
    """

    def __init__(self, *, exits: int, classes: int, key: str, boosted: bool = False) -> None:
        super().__init__()
        self.exits, self.classes, self.boosted = exits, classes, boosted
        self.key = f"{key}-boosted" if boosted else key

    @abstractmethod
    def heads(self, images: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Return the logits (N, classes) of every wanted exit, None for the others."""

    def answers(self, images: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Return the logits (N, classes) of every wanted exit, None for the others, for images (N, C, H, W)."""
        own = self.heads(images, wanted)
        if not self.boosted:
            return own
        summed: list[Tensor | None] = []
        before: Tensor | None = None
        for logits in own:
            if logits is not None:
                logits = logits if before is None else before + logits
                before = logits.detach()
            summed.append(logits)
        return summed

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (N, classes) of all exits, in order, for images (N, C, H, W)."""
        return tuple(logits for logits in self.answers(images, [True] * self.exits) if logits is not None)


class Classifier(MultiExit):
    """A static net: one exit."""

    def __init__(self, plan: NetworkPlan, *, wirings: Mapping[str, Wiring] = WIRINGS) -> None:
        super().__init__(exits=1, classes=plan.classes, key=plan_key(plan))
        self.plan, self.network = plan, Network(plan, wirings=wirings)

    def heads(self, images: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Return the logits."""
        return [self.network(images) if wanted[0] else None]


def plan_key(plan: NetworkPlan) -> str:
    """Return a hash of what a network computes, without the address of its weights in a supernet."""
    shapes = [block.shape() for block in plan.blocks]
    inputs = (plan.channels, plan.resolution, plan.resized, plan.classes)
    return stable_hash({"blocks": shapes, "inputs": inputs})


def drawn(net: Net, *, seed: int) -> Net:
    """Return `net` with new weights, drawn from `seed` alone by the rules of the supernet, channels last."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                out, inputs, kernel, _ = module.weight.shape
                module.weight.copy_(initial_weight((out, inputs, kernel), generator))
            elif isinstance(module, nn.Linear):
                weight = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(weight * math.sqrt(1 / module.in_features))
                nn.init.zeros_(module.bias)
    return net.to(memory_format=torch.channels_last)


def scored(net: Net, images: Iterable[Tensor]) -> Net:
    """Return a copy as it is scored: BatchNorm recalibrated on normalised batches `images` and folded, in eval mode."""
    plain = copy.deepcopy(net)
    recalibrate(plain, images)
    return fold(plain)


def as_multi_exit(module: nn.Module, *, exits: int) -> MultiExit:
    """Return `module`; InvalidRequestError unless it is a net of that many exits."""
    if not isinstance(module, MultiExit) or module.exits != exits:
        found = f"{type(module).__name__} of {getattr(module, 'exits', 'unknown')} exits"
        raise InvalidRequestError(f"got a {found} but need a net of {exits}; train the phases of one system in order")
    return module
