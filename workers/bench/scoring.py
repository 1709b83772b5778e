"""Scores of cached logits under each router, as the bench compares them.

`learned` is fitted on calibration outputs; the scores that its thresholds come from are cross-fitted, since by its own
it looks better there than it is. `random` is for comparison only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from workers.protocol.oracle import random_scores
from workers.protocol.outcomes import CachedOutputs
from workers.protocol.record import Record
from workers.routers import LEARNED, SCORES
from workers.routing.features import RouterFeatures
from workers.routing.learned import (
    FOLDS,
    LearnedRouter,
    RouterData,
    can_learn,
    crossfit_scores,
    fit_learned_router,
)

RANDOM = "random"
INFORMED = "informed"
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedWeights(Record):
    """A fitted logistic router as numbers: (F,) each, and a bias."""

    classes: int
    mean: tuple[float, ...] = field(repr=False)
    scale: tuple[float, ...] = field(repr=False)
    weight: tuple[float, ...] = field(repr=False)
    bias: float

    @classmethod
    def of(cls, router: LearnedRouter) -> LearnedWeights:
        """Return the numbers of a logistic router."""
        state = {name: tensor.double().flatten().tolist() for name, tensor in router.state_dict().items()}
        return cls(
            classes=router.features.classes,
            mean=tuple(state["mean"]),
            scale=tuple(state["scale"]),
            weight=tuple(state["body.weight"]),
            bias=state["body.bias"][0],
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LearnedWeights:
        """Return what `to_dict` wrote."""
        rows = {name: tuple(values[name]) for name in ("mean", "scale", "weight")}
        return cls(classes=values["classes"], bias=values["bias"], **rows)

    def router(self) -> LearnedRouter:
        """Return the router with these weights."""
        features = RouterFeatures(classes=self.classes)
        router = LearnedRouter(features, nn.Linear(features.size, 1))
        router.load_state_dict(
            {
                "mean": torch.tensor(self.mean),
                "scale": torch.tensor(self.scale),
                "body.weight": torch.tensor([self.weight]),
                "body.bias": torch.tensor([self.bias]),
            }
        )
        return router.eval()


def formula_scores(router: str, logits: NDArray[np.floating], *, temperature: float = 1.0) -> Scores:
    """Return (N,) the scores of `msp`, `margin` or `entropy` for logits (N, classes)."""
    tensor = torch.from_numpy(np.asarray(logits, dtype=np.float32)) / temperature
    return np.asarray(SCORES[router](tensor).numpy(), dtype=np.float32)


def scores_of(
    router: str, outputs: CachedOutputs, *, temperature: float, learned: LearnedWeights | None, seed: int
) -> NDArray[np.floating]:
    """Return (N,) the scores of a fixed router on one split; `seed` is the random router's."""
    if router == RANDOM:
        return random_scores(len(outputs.labels), rng=np.random.default_rng(seed))
    if router == LEARNED and learned is not None:
        logits = torch.from_numpy(np.asarray(outputs.little_logits, dtype=np.float32))
        return learned.router().scores(logits)
    return formula_scores(router, outputs.little_logits, temperature=temperature)


def informed_scores(outputs: CachedOutputs) -> NDArray[np.float64]:
    """Return (N,) what is lost by keeping the little's class if the escalated probabilities are right, negated.

    No router can have these: they take the big's answer. They tell how much of the gain could be known beforehand.
    """
    chances = softmax(np.asarray(outputs.escalated_logits, dtype=np.float64), axis=1)
    kept = np.take_along_axis(chances, outputs.predicted[:, None], axis=1)[:, 0]
    return np.asarray(kept - chances.max(axis=1))


def learn(calibration: CachedOutputs) -> tuple[LearnedWeights, Scores] | None:
    """Return the router fitted on calibration outputs and its cross-fitted scores there; None if little is to learn."""
    benefit = torch.from_numpy(calibration.escalated_correct & ~calibration.little_correct)
    if not can_learn(benefit, folds=FOLDS):
        return None
    logits = torch.from_numpy(np.asarray(calibration.little_logits, dtype=np.float32))
    data = RouterData(logits=logits, benefit=benefit)
    return LearnedWeights.of(fit_learned_router(data)), crossfit_scores(data)
