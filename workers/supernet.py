"""The supernet: every pair of a space in one set of weights.

Weights are held in banks at the largest size that the space allows; a plan selects the first channels of each tensor
and the centre of its kernel (Yu et al., Slimmable Neural Networks, ICLR 2019; Cai et al., Once-for-All, ICLR 2020).
BatchNorm always uses the batch's own statistics here; a network that is to be scored or shipped is extracted first.

`forward` is a pure function of images, plan and weights. A coupling is nothing but a way of slicing, and lives in the
plan: the banks, slots and norms of its blocks, and how many leading blocks are shared. The big of a triangular pair
slices the rows past the little's of the same bank, and reads the little's activations beside its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import NetworkPlan, PairPlan
from workers.bank import Slice, bank_shapes, block_slices, crop, initial_weight, section, tail_slices
from workers.joints import JOINTS, activated, resized
from workers.network import BATCH_NORM_EPS, ConvUnit, Network, Pair, TailNetwork
from workers.triangle import POOLED, noted, output_name, tail_features
from workers.wiring import Unit, resolve, wiring_for

INITIAL_ALPHA = 0.5


class Supernet(nn.Module):
    """Weights for every pair of `space`.

    Args:
        space: The space of pairs, for one data set's shape.
        seed: Seed of the initial weights.
    """

    def __init__(self, space: PairSpace, *, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.wirings = resolve(space.definition.wiring)
        self.shapes = bank_shapes(space)
        generator = torch.Generator().manual_seed(seed)
        norms, heads = sorted(self.shapes.norms.items()), sorted(self.shapes.heads.items())
        self.weights = nn.ParameterDict(
            {name: initial_weight(shape, generator) for name, shape in sorted(self.shapes.weights.items())}
        )
        self.scales = nn.ParameterDict({name: torch.ones(width) for name, width in norms})
        self.shifts = nn.ParameterDict({name: torch.zeros(width) for name, width in norms})
        self.heads = nn.ParameterDict(
            {
                name: torch.randn(space.classes, width, generator=generator) * math.sqrt(1 / width)
                for name, width in heads
            }
        )
        self.biases = nn.ParameterDict({name: torch.zeros(space.classes) for name, _ in heads})
        self.alphas = nn.ParameterDict({c: torch.tensor(INITIAL_ALPHA) for c in sorted(space.definition.couplings)})

    def forward(self, x: Tensor, plan: PairPlan) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits, both (N, classes), with gradients to all that `plan` uses.

        The escalated logits are `big + alpha * little`; no gradient flows through them into the little.

        Args:
            x: Normalised images (N, C, H, W).
            plan: A pair of this supernet's space.

        Raises:
            InvalidRequestError: if the plan needs tensors that this supernet lacks.
        """
        self._check(plan)
        if plan.coupling == "triangular":
            little, big = self._triangular(x, plan)
        else:
            carried = self._run(x, plan.little, 0, plan.shared_blocks)
            little = self._head(self._run(carried, plan.little, plan.shared_blocks).mean((2, 3)), plan.little)
            big = self._head(self._run(carried, plan.big, plan.shared_blocks).mean((2, 3)), plan.big)
        return little, big + self.alphas[plan.coupling] * little.detach()

    def extract(self, plan: PairPlan) -> Pair:
        """Return the pair as a plain module with copies of its slices; its BatchNorm must be recalibrated."""
        self._check(plan)
        alpha = self.alphas[plan.coupling]
        pair = Pair(plan, wirings=self.wirings, alpha=float(alpha.detach()))
        with torch.no_grad():
            self._copy(pair.little, plan.little, [parts for _, parts in block_slices(plan.little)])
            bigs = tail_slices(plan) or [parts for _, parts in block_slices(plan.big)]
            self._copy(pair.big, plan.big, bigs)
        return pair.to(device=alpha.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _check(self, plan: PairPlan) -> None:
        if plan.coupling not in self.alphas or not self.shapes.hold(plan):
            raise InvalidRequestError(
                f"a {plan.coupling} plan needs weights that the supernet of space {self.space.definition.name!r} "
                "lacks; use plans of the space that it was built from"
            )

    def _run(self, x: Tensor, plan: NetworkPlan, start: int, stop: int | None = None) -> Tensor:
        if not start and stop != 0:
            x = resized(x, plan.resized)
        for block, parts in block_slices(plan)[start:stop]:
            x = wiring_for(self.wirings, block.kind)(self._units(parts), x)
        return x

    def _triangular(self, x: Tensor, plan: PairPlan) -> tuple[Tensor, Tensor]:
        carried: dict[str, Tensor] = {}
        for block, parts in block_slices(plan.little):
            x = wiring_for(self.wirings, block.kind)(noted(self._units(parts), block.slot, carried), x)
            carried[output_name(block.slot)] = x
        carried[POOLED] = x.mean((2, 3))
        units = [[None if part is None else self._unit(part) for part in parts] for parts in tail_slices(plan)]
        features = tail_features(plan, units, carried, wirings=self.wirings)
        return self._head(carried[POOLED], plan.little), self._head(features, plan.big)

    def _units(self, parts: Iterable[Slice]) -> list[Unit]:
        return [self._unit(part) for part in parts]

    def _unit(self, part: Slice) -> Unit:
        if part.record.operation == "conv":
            return partial(self._convolve, part)
        return partial(JOINTS[part.record.operation], part.record)

    def _convolve(self, part: Slice, x: Tensor) -> Tensor:
        record = part.record
        weight = crop(self.weights[part.weight], record, start=part.start)
        x = F.conv2d(x, weight, None, record.stride, record.kernel // 2, 1, record.groups)
        scale, shift = (
            section(table[part.norm], record.out_channels, start=part.start) for table in (self.scales, self.shifts)
        )
        x = F.batch_norm(x, None, None, scale, shift, training=True, eps=BATCH_NORM_EPS)
        return activated(x, record.activation)

    def _head(self, features: Tensor, plan: NetworkPlan) -> Tensor:
        return F.linear(features, self.heads[plan.head][:, : features.shape[1]], self.biases[plan.head])

    def _copy(
        self, network: Network | TailNetwork, plan: NetworkPlan, slices: Sequence[Sequence[Slice | None]]
    ) -> None:
        for module, parts in zip(network.blocks, slices, strict=True):
            present = (part for part in parts if part is not None)
            for unit, part in zip(module.units, present, strict=True):  # type: ignore[arg-type]
                if isinstance(unit, ConvUnit):
                    count, start = part.record.out_channels, part.start
                    unit.convolution.weight.copy_(crop(self.weights[part.weight], part.record, start=start))
                    unit.norm.weight.copy_(section(self.scales[part.norm], count, start=start))
                    unit.norm.bias.copy_(section(self.shifts[part.norm], count, start=start))
        network.head.weight.copy_(self.heads[plan.head][:, : network.head.in_features])
        network.head.bias.copy_(self.biases[plan.head])
