"""How the tail of a triangular pair runs: the big's own channels beside the little's, which are there already.

Between blocks and inside them, the big's activations have two parts: the little's channels, which are known by name,
and the big's own. The wirings of `workers.wiring` join such parts as they join tensors. The names are those of the
tensors that `little.onnx` gives and `big.onnx` takes, as far as the tail reads them: `carry_SLOT` is a block's output,
`carry_SLOT_i` the output of its i-th layer, `carry_pool` the pooled features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas_service.plan import PairPlan
from nas_service.triangle import TailBlock, TailLayer
from workers.wiring import Unit, Wiring, wiring_for

POOLED = "carry_pool"
Carried = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Parts:
    """An activation of the big: the name of the little's channels, if any, and its own channels, from `start` on."""

    little: str | None
    own: Tensor | None
    start: int

    def whole(self, carried: Carried) -> Tensor:
        """Return all channels, the little's first."""
        parts = ([] if self.little is None else [carried[self.little]]) + ([] if self.own is None else [self.own])
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def past(self, start: int, carried: Carried) -> Tensor:
        """Return the channels from `start` on."""
        if self.own is None or start < self.start:
            return self.whole(carried)[:, start:]
        return self.own[:, start - self.start :] if start > self.start else self.own


def output_name(slot: str) -> str:
    """Return the name of the output of the little's block at `slot`."""
    return f"carry_{slot}".replace(".", "_")


def noted(units: Sequence[Unit], slot: str, activations: dict[str, Tensor]) -> list[Unit]:
    """Return `units` of the little's block at `slot` such that each notes its output in `activations`."""

    def note(name: str, unit: Unit) -> Unit:
        def run(*inputs: Tensor) -> Tensor:
            activations[name] = unit(*inputs)
            return activations[name]

        return run

    return [note(f"{output_name(slot)}_{index}", unit) for index, unit in enumerate(units)]


def tail_features(
    plan: PairPlan, units: Sequence[Sequence[Unit | None]], carried: Carried, *, wirings: Mapping[str, Wiring]
) -> Tensor:
    """Return the pooled features (N, C) of all channels of the big.

    Args:
        plan: A triangular pair.
        units: For each tail block and each of its layers, what computes the big's own channels; None where there are
            none.
        carried: The little's activations by name.
        wirings: How the layers of a block are joined, by kind of block.
    """
    entry = plan.big.blocks[plan.shared_blocks - 1]
    x = Parts(output_name(entry.slot), None, entry.out_channels)
    for tail, own in zip(plan.tail_blocks(), units, strict=True):
        wiring: Callable[..., Any] = wiring_for(wirings, tail.block.kind)
        y = wiring([_joined(tail, i, unit, carried) for i, unit in enumerate(own)], x)
        x = Parts(x.little if tail.lacking else output_name(tail.block.slot), y.own, tail.start)
    assert x.own is not None  # the widths of the last stage differ
    return torch.cat((carried[POOLED], x.own.mean((2, 3))), 1)


def _joined(tail: TailBlock, index: int, unit: Unit | None, carried: Carried) -> Callable[..., Parts]:
    """Return layer `index` of a block as a function of parts."""
    layer: TailLayer = tail.layers[index]
    record = layer.record
    little = f"{output_name(tail.block.slot)}_{index}" if layer.mirrored else None
    if unit is None or record is None:
        return lambda *inputs: Parts(little, None, layer.start)
    if record.operation == "conv" and record.groups == 1:
        return lambda x: Parts(little, unit(x.whole(carried)), layer.start)
    return lambda *inputs: Parts(little, unit(*(x.past(layer.start, carried) for x in inputs)), layer.start)
