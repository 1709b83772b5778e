"""A supernet that learns by the sandwich rule over pairs, with in-place distillation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nas_service.plan import PairPlan
from workers.checkpoint import space_identity
from workers.evaluation import EvaluationContext, evaluate
from workers.learner import Backward, Batch, PlainLearner
from workers.losses import pair_losses
from workers.sampling import FixedPair, PairSampler, Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig


class SandwichLearner(PlainLearner):
    """Every pair of a step learns from the same batch; the first teaches the others.

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

    @classmethod
    def over_space(cls, supernet: Supernet, config: TrainConfig) -> SandwichLearner:
        """Return the learner of all pairs of the supernet's space."""
        sampler = Sandwich(supernet.space, random_pairs=config.random_pairs)
        coupling = supernet.space.definition.couplings[0]
        watched = {"largest_": sampler.largest[coupling], "smallest_": sampler.smallest[coupling]}
        return cls(supernet, sampler, config, watched=watched)

    @classmethod
    def over_pair(cls, supernet: Supernet, plan: PairPlan, config: TrainConfig) -> SandwichLearner:
        """Return the learner of one pair; weights that both halves slice stay shared."""
        return cls(supernet, FixedPair(plan), config, watched={"": plan})

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` and `big` are the teaching pair's escalated branch, `all` sums every branch."""
        teacher: Tensor | None = None
        sums: list[Tensor] = []
        for plan in self.sampler(batch.step, batch.generator):
            little, escalated = self.supernet(batch.images, plan)
            little, escalated = little.float(), escalated.float()
            losses = pair_losses(little, escalated, batch.labels, teacher=teacher, config=self.config)
            backward(losses[0] + losses[1])
            teacher = escalated.detach() if teacher is None else teacher
            sums += [losses[1].detach(), losses[0].detach()]
        return {"loss": sums[0], "big": sums[0], "little": sums[1], "all": torch.stack(sums).sum()}

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracies of both halves of the watched pairs."""
        accuracies: dict[str, float] = {}
        for prefix, plan in self.watched.items():
            evaluation = evaluate(self.supernet, plan, quick)
            accuracies[f"{prefix}little"] = evaluation.little_accuracy
            accuracies[f"{prefix}big"] = evaluation.big_accuracy
        return accuracies
