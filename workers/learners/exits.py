"""A net with several exits that learn together.

Teerapittayanon et al., BranchyNet (ICPR 2016): the weighted sum of every exit's cross-entropy. Training the backbone
first and everything afterwards beats both joint training from scratch and frozen backbones (Kubaty et al., arXiv
2407.14320); the first run has weight on the last exit alone, the second on all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.baselines.multi_exit import MultiExit
from workers.evaluation import EvaluationContext
from workers.learner import Backward, Batch, PlainLearner
from workers.learners.classifier import exit_accuracies
from workers.losses import branch_loss
from workers.train_config import TrainConfig


class ExitsLearner(PlainLearner):
    """Every exit of positive weight learns from every batch.

    Args:
        net: Trained in place.
        config: Label smoothing.
        weights: Of each exit's loss in their sum; an exit of weight 0 is not run. None: all 1, as a pair's halves.

    Raises:
        InvalidRequestError: weights of another number of exits, or below 0, or none for the last exit.
    """

    def __init__(self, net: MultiExit, config: TrainConfig, *, weights: Sequence[float] | None = None) -> None:
        given = (1.0,) * net.exits if weights is None else tuple(weights)
        if len(given) != net.exits or not all(0 <= w < math.inf for w in given) or given[-1] <= 0:
            raise InvalidRequestError(
                f"weights {given} for {net.exits} exits; give one for each, none below 0, the last above 0"
            )
        self.weights = given
        identity = {"name": "exits", "net": net.key, "weights": list(self.weights)}
        super().__init__(net, classes=net.classes, identity=identity)
        self.net, self.config = net, config

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` is the last exit's cross-entropy, `all` the weighted sum, `exitK` each one's."""
        labels = batch.labels if batch.targets is None else batch.targets
        answers = self.net.answers(batch.images, [weight > 0 for weight in self.weights])
        figures: dict[str, Tensor] = {}
        terms: list[Tensor] = []
        for index, (logits, weight) in enumerate(zip(answers, self.weights, strict=True), start=1):
            if logits is not None:
                loss = branch_loss(logits.float(), labels, teacher=None, weight=0.0, config=self.config)
                terms.append(weight * loss)
                figures[f"exit{index}"] = loss.detach()
        total = torch.stack(terms).sum()
        backward(total)
        return {"loss": figures[f"exit{self.net.exits}"], "all": total.detach(), **figures}

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracy of every exit of a recalibrated copy as `exit1`, `exit2` and so on."""
        return {f"exit{i}": value for i, value in enumerate(exit_accuracies(self.net, quick), start=1)}
