"""What a routed pair is expected to cost, with gradients, and the multiplier that holds it at a target.

The cost is `E(C) = mean(m_little + g m_tail)`: the little always runs, the tail on escalation. Gradients go to the
router and, where the costs are tensors, to the architecture masks that they were computed from; nothing is taken out of
the graph (in the released NACHOS trainer the cost was made anew from a number, and taught nothing). The multiplier
rises by dual ascent while the constraint is broken and falls to 0 while it holds (Bertsekas, Constrained Optimization
and Lagrange Multiplier Methods, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from workers.cotraining.terms import CoTraining

MULTIPLIER_MAX = 100.0

Cost = float | Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairCost:
    """What the routes of a pair cost, in MACs or milliseconds, as numbers or as tensors with gradient.

    Attributes:
        little: Spent on every input.
        tail: What escalation adds.
        reference: What the target is a share of, > 0.
    """

    little: Cost = field(repr=False)
    tail: Cost = field(repr=False)
    reference: float

    def __post_init__(self) -> None:
        if not self.reference > 0:
            raise InvalidRequestError(f"the reference cost is {self.reference:g} but must be above 0")

    @classmethod
    def of(cls, plan: PairPlan) -> PairCost:
        """Return the MACs of `plan`; the reference is the worst case, little and tail."""
        little, tail = _macs(plan)
        return cls(little=float(little), tail=float(tail), reference=float(little + tail))


def check_target(plan: PairPlan, terms: CoTraining) -> None:
    """Raise InvalidRequestError if the cost term's target is below what the little of `plan` alone takes."""
    worst = plan.little_macs + plan.tail_macs
    if terms.cost > 0 and terms.cost_target * worst <= plan.little_macs:
        raise InvalidRequestError(
            f"cost_target {terms.cost_target:g} asks for {terms.cost_target * worst:.3g} of {worst:.3g} MACs, but the "
            f"little alone takes {plan.little_macs:.3g}; set it above {plan.little_macs / worst:.2f}, or cost to 0"
        )


def expected_cost(escalation: Tensor, *, little: Cost, tail: Cost) -> Tensor:
    """Return the mean cost (scalar) over inputs that are escalated with probabilities `escalation` (N,) in [0, 1].

    Differentiable in `escalation`, `little` and `tail`; the unit is that of the costs.
    """
    return little + escalation.mean() * tail


class CostConstraint(nn.Module):
    """Holds an expected cost at or below a target by a Lagrange multiplier in [0, 100].

    The upper end keeps a target that cannot be met from drowning every other term.

    Args:
        rate: Step of the dual ascent, > 0, on the violation as a share of the target.
    """

    multiplier: Tensor

    def __init__(self, *, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self._violations: list[Tensor] = []
        self.register_buffer("multiplier", torch.zeros(()))

    def forward(self, expected: Tensor, *, target: float) -> Tensor:
        """Return `multiplier * [expected - target]_+ / target` and note the violation for `ascend`."""
        violation = (expected - target) / target
        self._violations.append(violation.detach().float())
        return self.multiplier * violation.clamp(min=0)

    def ascend(self) -> None:
        """Move the multiplier by the mean violation since the last call: up if it is positive, else down, to 0."""
        if self._violations:
            step = self._rate * torch.stack(self._violations).mean()
            self.multiplier.copy_((self.multiplier + step).clamp(0.0, MULTIPLIER_MAX))
            self._violations.clear()


@lru_cache(maxsize=4096)
def _macs(plan: PairPlan) -> tuple[int, int]:
    return plan.little_macs, plan.tail_macs
