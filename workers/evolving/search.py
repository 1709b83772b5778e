"""A search by gradient: masks, the router that goes with them, and what holds their expected cost at a target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nas_service.pair_space import PairSpace
from nas_service.plan import Coupling, PairPlan
from nas_service.trajectory import Evolving
from workers.cotraining.cost import MULTIPLIER_MAX, expected_cost
from workers.cotraining.router import EscalationRouter
from workers.evolving.cost import Macs, MaskCost
from workers.evolving.hardening import harden
from workers.evolving.masks import Choice, Masks
from workers.evolving.settings import GradientSearch

MEMORY = 0.98  # of the running means of cost and escalation rate, in steps


class MaskSearch(nn.Module):
    """Masks of one coupling under one cost target.

    The router is the search's own: how much to escalate depends on what the target leaves.

    Args:
        space: The space; the hardened pair meets its constraints.
        coupling: Of the pairs.
        target: Upper end of the expected cost, in the unit of `measure`, > 0.
        name: Of the search, in reports.
        settings: How it moves, and what pairs cost.
    """

    multiplier: Tensor
    cost: Tensor
    rate: Tensor
    seen: Tensor

    def __init__(
        self,
        space: PairSpace,
        coupling: Coupling,
        *,
        target: float,
        name: str,
        settings: GradientSearch,
    ) -> None:
        super().__init__()
        self.coupling, self.target, self.name, self._settings = coupling, target, name, settings
        self.masks = Masks(space, coupling, exploration=settings.exploration[0])
        self.pricing = MaskCost(self.masks, settings.measure or Macs())
        self.router = EscalationRouter(space.classes)
        self.register_buffer("multiplier", torch.zeros(()))
        self.register_buffer("cost", torch.zeros((), dtype=torch.float64))
        self.register_buffer("rate", torch.tensor(0.5))
        self.register_buffer("seen", torch.zeros(()))
        self.choice: Choice | None = None
        self._violations: list[Tensor] = []

    def penalty(self, choice: Choice, escalation: Tensor, *, genes: list[str] | None) -> Tensor:
        """Return `multiplier * (E(C) - C*) / C*` of a draw, with gradient to the masks and the router.

        It is not cut off below the target: the constraint is on the mean over draws, and cut-off draws would not
        average to it.

        Args:
            choice: A draw of the masks.
            escalation: (N,) the probabilities that the inputs are escalated.
            genes: As for `MaskCost.expected`.
        """
        little, tail = self.pricing.expected(choice, genes=genes)
        expected = expected_cost(escalation.double().cpu(), little=little, tail=tail)
        violation = (expected - self.target) / self.target
        self._violations.append(violation.detach())
        self._remember(expected.detach(), escalation.detach().mean())
        return self.multiplier.cpu() * violation

    def finish_step(self, *, progress: float, steps: int) -> None:
        """Move masks and multiplier after one of the `steps` of this search, of which a share of `progress` is over."""
        first, last = self._settings.exploration
        self.masks.update(rate=self._settings.travel / steps)
        self.masks.exploration = first + (last - first) * progress
        gain = self._settings.dual_gain / steps * torch.stack(self._violations).mean()
        self.multiplier.copy_((self.multiplier + gain).clamp(0.0, MULTIPLIER_MAX))
        self._violations.clear()

    def expected(self, choice: Choice) -> float:
        """Return what a pair costs if the router escalates as it last did on average."""
        little, tail = self.pricing.at(choice)
        return little + float(self.rate) * tail

    def harden(self) -> None:
        """Keep the likeliest pair that meets the space's constraints and, if there is one, the target."""
        self.choice = harden(self.masks, affordable=lambda choice: self.expected(choice) <= self.target)

    @property
    def found(self) -> dict[str, Any]:
        """The point of the hardened pair, or the likeliest one so far."""
        return self.masks.point(self.choice or self.masks.likeliest())

    def plan(self, choice: Choice | None = None) -> PairPlan:
        """Return the pair of `choice`, or the one that was found."""
        return self.masks.space.plan(self.found if choice is None else self.masks.point(choice))

    def snapshot(self) -> Evolving:
        """Return where the search stands; a hardened one has probabilities of 1 and 0."""
        chosen = self.choice
        known = bool(self.seen)
        return Evolving(
            probabilities={
                name: tuple(
                    float(chosen[name] == i) if chosen else round(share, 4) for i, share in enumerate(p.tolist())
                )
                for name, p in self.masks.probabilities().items()
            },
            expected_cost=self.expected(chosen) if chosen else (float(self.cost) if known else None),
            target_cost=self.target,
            unit=self.pricing.unit,
            multiplier=float(self.multiplier),
            escalation_rate=float(self.rate) if known else None,
        )

    @torch.no_grad()
    def _remember(self, cost: Tensor, rate: Tensor) -> None:
        share = max(1 - MEMORY, 1 / (1 + float(self.seen)))
        self.seen += 1
        self.cost.lerp_(cost.to(self.cost), share)
        self.rate.lerp_(rate.to(self.rate), share)
