"""Routers: what decides, from the little's logits, whether the big is asked.

A score is higher the surer the little is; an input is escalated when `score < threshold`. The same functions score
cached outputs and, traced, are part of the exported graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nas_service.errors import InvalidRequestError

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


def score_function(router: str) -> Score:
    """Return the score of `router`; InvalidRequestError for an unknown name."""
    if router not in SCORES:
        raise InvalidRequestError(f"unknown router {router!r}; choose one of: {', '.join(SCORES)}")
    return SCORES[router]
