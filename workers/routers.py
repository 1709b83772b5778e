"""Routers: what decides, from the little's logits, whether the big is asked.

A score is higher the surer the little is; an input is escalated when `score < threshold`. The same functions score
cached outputs and, traced, are part of the exported graph. `msp`, `margin` and `entropy` are formulas, of logits that
may be divided by a temperature first; `learned` is fitted on held-out data (workers/routing/learned.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.routing.learned import LearnedRouter

Score = Callable[[Tensor], Tensor]


def msp(logits: Tensor) -> Tensor:
    """Return (N,) the highest softmax probability of logits (N, classes)."""
    return torch.softmax(logits, dim=1).amax(dim=1)


def margin(logits: Tensor) -> Tensor:
    """Return (N,) the highest softmax probability less the second (Park et al., Big/LITTLE DNN, CODES+ISSS 2015)."""
    top = torch.softmax(logits, dim=1).topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def entropy(logits: Tensor) -> Tensor:
    """Return (N,) the negated entropy of the softmax, in nats, at most 0 (Teerapittayanon et al., BranchyNet, 2016)."""
    logs = torch.log_softmax(logits, dim=1)
    return (logs.exp() * logs).sum(dim=1)


SCORES: dict[str, Score] = {"msp": msp, "margin": margin, "entropy": entropy}
LEARNED = "learned"
ROUTERS = (*SCORES, LEARNED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Router:
    """A router that is ready to score.

    Attributes:
        name: `msp`, `margin`, `entropy` or `learned`.
        temperature: Divides the logits before a formula; > 0. A learned router has scales of its own, so 1 there.
        learned: The fitted module of `learned`, which reads logits alone; else None.
    """

    name: str
    temperature: float = 1.0
    learned: LearnedRouter | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_router(self.name)
        if (self.name == LEARNED) != (self.learned is not None):
            raise InvalidRequestError(
                f"router {self.name!r} {'without' if self.learned is None else 'with'} a fitted module; `learned` "
                "needs the one that fit_learned_router returns, the others take none"
            )
        if self.learned is not None and self.learned.features.pooled:
            raise InvalidRequestError(
                f"the learned router reads {self.learned.features.pooled} pooled features; cached logits do not have "
                "them; fit one on logits alone"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InvalidRequestError(f"temperature is {self.temperature} but must be finite and above 0")
        if self.learned is not None and self.temperature != 1:
            raise InvalidRequestError(f"temperature is {self.temperature} but a learned router takes none; give 1")

    def score(self, logits: Tensor) -> Tensor:
        """Return (N,) scores of logits (N, classes)."""
        if self.learned is not None:
            learned: Tensor = self.learned(logits)
            return learned
        return SCORES[self.name](logits if self.temperature == 1 else logits / self.temperature)

    def scores(self, logits: Tensor) -> NDArray[np.float32]:
        """Return (N,) scores of cached logits (N, classes) as an array."""
        with torch.inference_mode():
            return np.asarray(self.score(logits.float()).numpy())


def check_router(name: str) -> None:
    """Raise InvalidRequestError for a name that is no router's."""
    if name not in ROUTERS:
        raise InvalidRequestError(f"unknown router {name!r}; choose one of: {', '.join(ROUTERS)}")
