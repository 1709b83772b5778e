"""What pairs cost, as a differentiable function of their masks.

With independent genes, the expected cost `F(p) = sum over pairs x of P(x) C(x)` is linear in each gene's probabilities,
and `dF/dp[gene, j]` is the expectation of `C(x with gene set to j)`. So a drawn pair gives an unbiased gradient of the
expected cost from real costs alone, of whatever kind (MACs, milliseconds on a board class) and coupling, and the value
at a drawn pair, or at probabilities of one and zero, is that pair's exact cost. No layer is approximated and none is
forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from nas_service.plan import PairPlan
from workers.evolving.masks import Masks


class Measure(Protocol):
    """What pairs cost; `nas_service.class_cost.ClassCost` is one."""

    @property
    def unit(self) -> str:
        """Return the unit of all costs, as plots show it."""
        ...

    def halves(self, plan: PairPlan) -> tuple[float, float]:
        """Return what the little costs and what the tail adds."""


class Macs:
    """Multiply-accumulates."""

    unit = "MACs"

    def halves(self, plan: PairPlan) -> tuple[float, float]:
        """Return the MACs of the little and of the tail."""
        return float(plan.little_macs), float(plan.tail_macs)


class MaskCost:
    """The costs of a coupling's pairs under one measure; a pair is priced once.

    Args:
        masks: Whose genes are priced.
        measure: Prices pairs.
    """

    def __init__(self, masks: Masks, measure: Measure) -> None:
        self._masks, self._measure = masks, measure
        self._known: dict[tuple[int, ...], tuple[float, float]] = {}

    @property
    def unit(self) -> str:
        """Of all costs."""
        return self._measure.unit

    def at(self, choice: Mapping[str, int]) -> tuple[float, float]:
        """Return what the little of `choice` costs and what its tail adds."""
        key = tuple(choice[name] for name in self._masks.choices)
        if key not in self._known:
            self._known[key] = self._measure.halves(self._masks.space.plan(self._masks.point(choice)))
        return self._known[key]

    def expected(self, choice: Mapping[str, int], *, genes: list[str] | None = None) -> Tensor:
        """Return (2,) the costs of the little and of the tail of `choice`, with gradient to the masks.

        Args:
            choice: A draw of the masks.
            genes: The genes to differentiate by, drawn without regard to `choice`: their gradients are scaled up for
                those left out, so that they stay unbiased. None for all.
        """
        probabilities = self._masks.probabilities()
        asked = list(probabilities) if genes is None else genes
        here = torch.tensor(self.at(choice), dtype=torch.float64)
        total = here.clone()
        for name in asked:
            others = [self.at({**choice, name: index}) for index in range(len(self._masks.choices[name]))]
            table = torch.tensor(others, dtype=torch.float64) - here
            p = probabilities[name].double().cpu()
            total = total + (len(probabilities) / len(asked)) * (p - p.detach()) @ table
        return total
