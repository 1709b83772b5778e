"""Halves as values: what one exported graph computes, and what passes between it and the other."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.records import Half
from nas_service.layers import LayerRecord
from nas_service.plan import PairPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfStructure:
    """One half of a pair, as far as its cost on a board depends on it.

    Attributes:
        half: `little`, or `big` for what escalation adds.
        layers: In order of execution.
        carried: Tensors that pass between the halves, the image and logits aside.
        carried_values: How many numbers they hold.
    """

    half: Half
    layers: tuple[LayerRecord, ...]
    carried: int = 0
    carried_values: int = 0


def halves_of(plan: PairPlan) -> dict[Half, HalfStructure]:
    """Return both halves of a pair."""
    count, values = _carried(plan)
    return {
        "little": HalfStructure(half="little", layers=plan.little.layers(), carried=count, carried_values=values),
        "big": HalfStructure(half="big", layers=plan.tail_layers(), carried=count, carried_values=values),
    }


def _carried(plan: PairPlan) -> tuple[int, int]:
    """Return how many tensors pass, about, and how many numbers they hold."""
    if not plan.shared_blocks:
        return 0, 0
    sized = list(plan.little.sizes())
    block, size = sized[plan.shared_blocks - 1]
    side = -(-size // block.stride)
    count, values = 1, block.out_channels * side**2
    for tail in plan.tail_blocks():
        for layer in tail.layers:
            if layer.mirrored and layer.record is not None and layer.record.operation == "conv":
                count, values = count + 1, values + layer.start * layer.record.size**2
    return count, values
