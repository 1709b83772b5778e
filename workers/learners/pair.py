"""One pair of a fixed architecture as a plain module, co-trained: no slicing, no other pair beside it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from workers.bank import initial_weight
from workers.cotraining.cost import PairCost, check_target
from workers.cotraining.objective import PairObjective
from workers.evaluation import EvaluationContext, Outputs, infer, recalibrate
from workers.learner import Backward, Batch, PlainLearner
from workers.network import Pair
from workers.routing.learned import LearnedRouter
from workers.supernet import INITIAL_ALPHA
from workers.train_config import TrainConfig
from workers.wiring import WIRINGS, Wiring


class CoupledPair(nn.Module):
    """A pair in training: the weight of the little's logits is learnt, and no gradient flows through them.

    Args:
        pair: Trained in place, but for its `alpha`, which `plain` sets.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        self.alpha = nn.Parameter(torch.tensor(float(pair.alpha)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits, both (N, classes), of images (N, C, H, W)."""
        little, big = self.halves(images)
        return little, big + self.alpha * little.detach()

    def halves(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the little's and the big's own logits, both (N, classes)."""
        little, carried = self.pair.answer(images)
        return little, self.pair.escalate(carried, torch.zeros_like(little))

    def plain(self) -> Pair:
        """Return a copy of the pair as it is shipped; its BatchNorm must be recalibrated."""
        pair = copy.deepcopy(self.pair)
        pair.alpha = float(self.alpha.detach())
        return pair


class PairLearner(PlainLearner):
    """One pair learns from every batch, by all the terms of `config.cotraining`.

    Args:
        pair: With the weights to start from; trained in place.
        config: Weights of the loss terms.

    Raises:
        InvalidRequestError: a nested pair, whose halves would come apart, or a cost target below the little's own cost.
    """

    def __init__(self, pair: Pair, config: TrainConfig) -> None:
        plan = pair.plan
        if plan.coupling == "nested":
            raise InvalidRequestError(
                "the halves of a nested pair slice the same weights, which a plain pair has twice; "
                "train it with SandwichLearner.over_pair"
            )
        self.cost = PairCost.of(plan)
        check_target(plan, config.cotraining)
        coupled = CoupledPair(pair)
        identity = {"name": f"pair-{plan.coupling}", "hash": stable_hash(asdict(plan))}
        super().__init__(coupled, classes=plan.little.classes, identity=identity)
        self.coupled, self.config = coupled, config
        self.objective = PairObjective(config, model=coupled, classes=self.classes)
        self.extras = self.objective.extras

    @classmethod
    def untrained(cls, plan: PairPlan, config: TrainConfig, *, wirings: Mapping[str, Wiring] = WIRINGS) -> PairLearner:
        """Return the learner of `plan` with weights drawn from `config.seed` as a supernet's are."""
        return cls(initial_pair(plan, seed=config.seed, wirings=wirings), config)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Enter the epoch's phase."""
        self.objective.start_epoch(epoch, epochs)

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` and `big` are the escalated branch, `all` the sum of both branches."""
        if self.objective.phase == "warm_up":
            return self._warm_up(batch, backward)
        averaged = self.objective.averaged(batch.images)
        little, escalated = self.coupled(batch.images)
        little, escalated = little.float(), escalated.float()
        lesson = self.objective.lesson(little, escalated, averaged=averaged)
        terms = self.objective(little, escalated, batch, lesson=lesson, teacher=None, cost=self.cost)
        backward(terms.total)
        small, big = terms.little.detach(), terms.big.detach()
        figures = {"loss": big, "big": big, "little": small, "all": big + small}
        return figures | terms.figures | self.objective.phase_figure(big)

    def finish_step(self) -> None:
        """Move the multiplier and the moving average."""
        self.objective.finish_step(self.coupled)

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracies of both halves, of a recalibrated copy."""
        outputs = self.outputs(quick)
        return {"little": float(outputs.little_correct.mean()), "big": float(outputs.big_correct.mean())}

    def outputs(self, context: EvaluationContext) -> Outputs:
        """Return the outputs of a recalibrated copy on the context's images."""
        pair = self.coupled.plain()
        recalibrate(pair, context.recalibration)
        return infer(pair, context.batches, labels=context.labels)

    def learned_router(self) -> LearnedRouter | None:
        """Return a copy of the co-trained router as the router `learned`, None if none was trained."""
        return None if self.objective.router is None else self.objective.router.as_learned()

    def _warm_up(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        _, big = self.coupled.halves(batch.images)
        loss = self.objective.alone(big.float(), batch)
        backward(loss)
        loss = loss.detach()
        return {"loss": loss, "big": loss, "all": loss} | self.objective.phase_figure(loss)


def initial_pair(plan: PairPlan, *, seed: int, wirings: Mapping[str, Wiring] = WIRINGS) -> Pair:
    """Return an untrained pair of `plan`, its weights drawn from `seed` alone, by the rules of the supernet."""
    with torch.random.fork_rng(devices=[]):
        pair = Pair(plan, wirings=wirings, alpha=INITIAL_ALPHA)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in pair.modules():
            if isinstance(module, nn.Conv2d):
                out, inputs, kernel, _ = module.weight.shape
                module.weight.copy_(initial_weight((out, inputs, kernel), generator))
            elif isinstance(module, nn.Linear):
                drawn = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(drawn * math.sqrt(1 / module.in_features))
                nn.init.zeros_(module.bias)
    return pair
