"""A supernet that learns by the sandwich rule over pairs, with in-place distillation and the terms of co-training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nas_service.plan import PairPlan
from workers.checkpoint import space_identity
from workers.cotraining.cost import PairCost, check_target
from workers.cotraining.objective import PairObjective, PairTerms
from workers.evaluation import EvaluationContext, evaluate
from workers.learner import Backward, Batch, PlainLearner
from workers.sampling import FixedPair, PairSampler, Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig


class SandwichLearner(PlainLearner):
    """Every pair of a step learns from the same batch; the first teaches the others.

    While the big warms up, the first pair's big learns alone. One router serves all pairs: it reads probabilities,
    which mean the same for every little.

    Args:
        supernet: Trained in place.
        sampler: The pairs of each step.
        config: Weights of the loss terms.
        watched: Pairs whose accuracy is reported, by the prefix of its name.
    """

    def __init__(
        self, supernet: Supernet, sampler: PairSampler, config: TrainConfig, *, watched: Mapping[str, PairPlan]
    ) -> None:
        super().__init__(supernet, classes=supernet.space.classes, identity=space_identity(supernet))
        self.supernet, self.sampler, self.config, self.watched = supernet, sampler, config, watched
        self.objective = PairObjective(config, model=supernet, classes=self.classes)
        self.extras = self.objective.extras

    @classmethod
    def over_space(cls, supernet: Supernet, config: TrainConfig) -> SandwichLearner:
        """Return the learner of all pairs; InvalidRequestError for a cost target that the largest cannot meet."""
        sampler = Sandwich(supernet.space, random_pairs=config.random_pairs)
        coupling = supernet.space.definition.couplings[0]
        watched = {"largest_": sampler.largest[coupling], "smallest_": sampler.smallest[coupling]}
        for largest in sampler.largest.values():
            check_target(largest, config.cotraining)
        return cls(supernet, sampler, config, watched=watched)

    @classmethod
    def over_pair(cls, supernet: Supernet, plan: PairPlan, config: TrainConfig) -> SandwichLearner:
        """Return the learner of one pair; weights that both halves slice stay shared. Errors as in `over_space`."""
        check_target(plan, config.cotraining)
        return cls(supernet, FixedPair(plan), config, watched={"": plan})

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase."""
        self.objective.start_epoch(epoch, epochs)

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` and `big` are the teaching pair's escalated branch, `all` sums every branch."""
        plans = self.sampler(batch.step, batch.generator)
        if self.objective.phase == "warm_up":
            return self._warm_up(plans[0], batch, backward)
        averaged = self.objective.averaged(batch.images, plans[0])
        teacher: Tensor | None = None
        learnt: list[PairTerms] = []
        for plan in plans:
            little, escalated = self.supernet(batch.images, plan)
            little, escalated = little.float(), escalated.float()
            lesson = self.objective.lesson(little, escalated, averaged=averaged)
            cost = PairCost.of(plan) if self.objective.constraint is not None else None
            terms = self.objective(little, escalated, batch, lesson=lesson, teacher=teacher, cost=cost)
            backward(terms.total)
            teacher = lesson if teacher is None else teacher
            learnt.append(terms)
        first = learnt[0]
        big, everything = first.big.detach(), [t.detach() for terms in learnt for t in (terms.big, terms.little)]
        figures = {"loss": big, "big": big, "little": first.little.detach(), "all": torch.stack(everything).sum()}
        return figures | first.figures | self.objective.phase_figure(big)

    def finish_step(self) -> None:
        """Move the multiplier and the moving average."""
        self.objective.finish_step(self.supernet)

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracies of both halves of the watched pairs."""
        accuracies: dict[str, float] = {}
        for prefix, plan in self.watched.items():
            evaluation = evaluate(self.supernet, plan, quick)
            accuracies[f"{prefix}little"] = evaluation.little_accuracy
            accuracies[f"{prefix}big"] = evaluation.big_accuracy
        return accuracies

    def _warm_up(self, plan: PairPlan, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Let the big of `plan` learn from its own logits, less the little's share, which has learnt nothing yet."""
        little, escalated = self.supernet(batch.images, plan)
        big = escalated.float() - (self.supernet.alphas[plan.coupling] * little).detach().float()
        loss = self.objective.alone(big, batch)
        backward(loss)
        loss = loss.detach()
        return {"loss": loss, "big": loss, "all": loss} | self.objective.phase_figure(loss)
