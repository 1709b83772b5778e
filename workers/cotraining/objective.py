"""What a pair learns from in one step: the branches' losses and the terms that are switched on, in one place.

Every learner that trains pairs (one fixed pair, a supernet's sandwich, masks that evolve) hands its logits to the same
`PairObjective`, so that the same words mean the same losses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from workers.cotraining.average import Average
from workers.cotraining.cost import CostConstraint, PairCost, expected_cost
from workers.cotraining.likelihood import ensemble, gate_loss, system_loss
from workers.cotraining.router import EscalationRouter, benefit, rate_penalty, router_loss
from workers.cotraining.terms import PHASES, Phase, Phases
from workers.learner import Batch
from workers.losses import branch_loss
from workers.train_config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTerms:
    """The losses of one pair on one batch.

    Attributes:
        little: Of the little's branch, unweighted.
        big: Of the escalated branch, unweighted and without focus, so that it compares with a guess's.
        total: What to minimise: both branches and every term, weighted.
        figures: Detached scalars of the terms that are on, by name, for the report.
    """

    little: Tensor = field(repr=False)
    big: Tensor = field(repr=False)
    total: Tensor = field(repr=False)
    figures: dict[str, Tensor] = field(repr=False)


class PairObjective:
    """The terms of `config.cotraining` over a pair's logits.

    Args:
        config: Of the run.
        model: What is trained; the moving average, if one teaches, starts as its copy.
        classes: Number of classes.
    """

    def __init__(self, config: TrainConfig, *, model: nn.Module, classes: int) -> None:
        self.config, self.terms = config, config.cotraining
        self.phase: Phase = self.terms.phases.at(0, config.epochs)
        self.firmness = self.terms.phases.firmness(0, config.epochs)
        self.extras = nn.ModuleDict()
        self.router = EscalationRouter(classes, head=self.terms.router_head) if self.terms.routes else None
        self.constraint = CostConstraint(rate=self.terms.multiplier_rate) if self.terms.cost > 0 else None
        averages = self.terms.teacher == "average"
        self.average = Average(model, decay=self.terms.teacher_decay) if averages else None
        parts = {"router": self.router, "constraint": self.constraint, "average": self.average}
        for name, part in parts.items():
            if part is not None:
                self.extras[name] = part

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the phase of epoch `epoch`, from 0, of `epochs`."""
        self.phase, self.firmness = self.terms.phases.at(epoch, epochs), self.terms.phases.firmness(epoch, epochs)

    def finish_step(self, model: nn.Module) -> None:
        """Move the multiplier and the moving average, after the optimiser's step on `model`."""
        if self.constraint is not None:
            self.constraint.ascend()
        if self.average is not None:
            self.average.follow(model)

    def averaged(self, *inputs: object) -> Tensor | None:
        """Return the moving average's escalated logits (N, classes) of the model's `inputs`, None unless it teaches."""
        return None if self.average is None else self.average(*inputs)[1].float()

    def lesson(self, little: Tensor, escalated: Tensor, *, averaged: Tensor | None) -> Tensor:
        """Return the logits (N, classes), without gradient, that a pair of these logits teaches."""
        if averaged is not None:
            return averaged
        return ensemble(little, escalated) if self.terms.teacher == "ensemble" else escalated.detach()

    def alone(self, big: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the big's own logits (N, classes), which learns from labels alone while it warms up."""
        return branch_loss(big, truth_of(batch), teacher=None, weight=0.0, config=self.config)

    def __call__(
        self,
        little: Tensor,
        escalated: Tensor,
        batch: Batch,
        *,
        lesson: Tensor,
        teacher: Tensor | None,
        cost: PairCost | None,
    ) -> PairTerms:
        """Return the losses of one pair.

        Args:
            little: (N, classes) float32 logits.
            escalated: (N, classes) float32 logits, which carry no gradient into the little's head.
            batch: What the logits are of.
            lesson: (N, classes) what the little is taught, from `lesson`.
            teacher: (N, classes) what the escalated branch is taught; None: labels alone.
            cost: Of the pair; needed where the cost term is on.
        """
        config, terms, truth = self.config, self.terms, truth_of(batch)
        log_odds = None if self.router is None else self.router(little)
        low = branch_loss(little, truth, teacher=lesson, weight=config.little_distillation, config=config)
        high = plain = branch_loss(escalated, truth, teacher=teacher, weight=config.distillation, config=config)
        if terms.focus > 0 and log_odds is not None:
            focus = 1 + terms.focus * (self.firmness * log_odds.detach()).sigmoid()
            high = branch_loss(
                escalated, truth, teacher=teacher, weight=config.distillation, config=config, importance=focus
            )
        beside, figures = self._beside(little, escalated, truth, log_odds=log_odds, cost=cost)
        branches = [
            loss if weight == 1 else weight * loss
            for loss, weight in ((low, terms.little), (high, terms.big))
            if weight > 0
        ]
        return PairTerms(little=low, big=plain, total=reduce(add, [*branches, *beside]), figures=figures)

    def _beside(
        self, little: Tensor, escalated: Tensor, truth: Tensor, *, log_odds: Tensor | None, cost: PairCost | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the weighted terms beside the branches, and their figures."""
        terms, parts, figures = self.terms, [], {}
        if log_odds is not None:
            firm = log_odds if self.firmness == 1 else self.firmness * log_odds
            escalation = firm.sigmoid()
            figures["escalation"] = escalation.detach().mean()
            values = {}
            if terms.system > 0:
                values["system"] = system_loss(little, escalated, firm, truth)
            if terms.router > 0:
                values["router"] = router_loss(log_odds, benefit(little, escalated, truth))
            if terms.rate > 0:
                values["rate"] = rate_penalty(firm, target=terms.target_rate)
            parts += [getattr(terms, name) * value for name, value in values.items()]
            figures |= {name: value.detach() for name, value in values.items()}
            if self.constraint is not None and cost is not None:
                expected = expected_cost(escalation, little=cost.little, tail=cost.tail)
                parts.append(terms.cost * self.constraint(expected, target=terms.cost_target * cost.reference))
                figures["cost"] = expected.detach() / cost.reference
                figures["multiplier"] = self.constraint.multiplier.clone()
        if terms.gate > 0 and self.phase == "fine_tune":
            gate = gate_loss(little, truth if truth.ndim == 1 else truth.argmax(1), share=terms.gate_share)
            parts.append(terms.gate * gate)
            figures["gate"] = gate.detach()
        return parts, figures

    def phase_figure(self, like: Tensor) -> dict[str, Tensor]:
        """Return the phase by number, from 0, as a figure; nothing where the run has one phase alone."""
        if self.terms.phases == Phases():
            return {}
        return {"phase": torch.tensor(float(PHASES.index(self.phase)), device=like.device)}


def truth_of(batch: Batch) -> Tensor:
    """Return (N,) labels, or (N, classes) soft ones where images were mixed."""
    return batch.labels if batch.targets is None else batch.targets
