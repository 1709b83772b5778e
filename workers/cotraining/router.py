"""The router that is trained with the pair: `g(x)`, the probability that an input is escalated.

It is the learned router of `workers.routing.learned` (the same features of the little's logits, the same heads), so
that it can be exported as one, with features standardised by running statistics. It reads the little's logits without
gradient: a cost that flowed into the little would be met by a little that feigns to be sure. Its labels come from
augmented training images and grow rare as the little learns those by heart (JEI-DNN, arXiv 2310.09163); a router that
is fitted on held-out data afterwards remains the better scorer, and this one serves the training.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.routing.features import RouterFeatures
from workers.routing.learned import BODIES, LearnedRouter

SLOWEST = 0.01
LEAST_SPREAD = 1e-6


class EscalationRouter(nn.Module):
    """Log-odds of escalation from the little's logits; at first 0, that is, g = 0.5 for every input.

    Args:
        classes: Number of classes.
        head: `logistic` or `mlp`.
    """

    seen: Tensor

    def __init__(self, classes: int, *, head: str = "logistic") -> None:
        super().__init__()
        features = RouterFeatures(classes=classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.learned = LearnedRouter(features, BODIES[head](features.size))
        last = [module for module in self.learned.body.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, little: Tensor) -> Tensor:
        """Return (N,) log-odds for the little's logits (N, classes), with gradient to the router alone."""
        logits = little.detach().float()
        with torch.autocast(logits.device.type, enabled=False):
            if self.training and len(logits) > 1:
                self._observe(logits)
            return -self.learned(logits)

    def as_learned(self) -> LearnedRouter:
        """Return a copy as the router `learned`, whose score is the negated log-odds."""
        return copy.deepcopy(self.learned).eval()

    def _observe(self, logits: Tensor) -> None:
        """Move the running mean and standard deviation of the features: a plain average first, then a slow one."""
        with torch.no_grad():
            values = self.learned.features(logits, None)
            self.seen += 1
            share = max(1 / int(self.seen), SLOWEST)
            spread = values.std(dim=0)
            spread = torch.where(spread > LEAST_SPREAD, spread, torch.ones_like(spread))
            self.learned.mean.lerp_(values.mean(dim=0), share)
            self.learned.scale.lerp_(spread, share)


def benefit(little: Tensor, escalated: Tensor, truth: Tensor) -> Tensor:
    """Return (N,) 1 where the little is wrong and the escalated prediction right, else 0 (Kag et al., ICLR 2023).

    Not simply `little wrong`, which would pay for inputs that both get wrong.

    Args:
        little: (N, classes) logits.
        escalated: (N, classes) logits.
        truth: (N,) int64, or (N, classes) soft labels, of which the greatest counts.
    """
    labels = truth if truth.ndim == 1 else truth.argmax(1)
    return ((little.argmax(1) != labels) & (escalated.argmax(1) == labels)).float()


def router_loss(log_odds: Tensor, target: Tensor) -> Tensor:
    """Return the router's mean cross-entropy (scalar) on targets (N,) in [0, 1]."""
    return F.binary_cross_entropy_with_logits(log_odds, target)


def rate_penalty(log_odds: Tensor, *, target: float) -> Tensor:
    """Return KL(target || mean g) (scalar), which pulls as hard as ever once the router escalates all or nothing.

    A squared difference would not: where g has come to 0 or 1, so has its slope.

    Args:
        log_odds: (N,) of escalation.
        target: The escalation rate wished for, in [0, 1].
    """
    count = math.log(len(log_odds))
    go, stay = (torch.logsumexp(F.logsigmoid(odds), dim=0) - count for odds in (log_odds, -log_odds))
    entropy = -sum(p * math.log(p) for p in (target, 1 - target) if p > 0)
    return -(target * go + (1 - target) * stay) - entropy
