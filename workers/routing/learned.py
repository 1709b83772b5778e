"""The learned router: how likely the big mends what the little gets wrong, fitted after training on held-out data.

Target `little wrong and big right` (Kag et al., ICLR 2023), not `little wrong`, which would pay for inputs that both
get wrong. Held-out, because on training data the little is hardly ever wrong (JEI-DNN, arXiv 2310.09163). The score is
the negated log-odds, so that higher is surer, and it does not saturate as a probability does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.routing.features import RouterFeatures

HIDDEN = 16
DECAY = {"logistic": 1e-4, "mlp": 1e-3}
ITERATIONS = 100
MIN_OF_EACH = 5
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouterData:
    """Held-out data of one pair.

    Attributes:
        logits: (N, classes) the little's.
        benefit: (N,) whether the little is wrong and the big right.
        pooled: (N, F) the little's pooled last feature; None: the router sees logits alone.
    """

    logits: Tensor = field(repr=False)
    benefit: Tensor = field(repr=False)
    pooled: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        sizes = {len(self.logits), len(self.benefit), len(self.logits if self.pooled is None else self.pooled)}
        if len(sizes) != 1 or self.logits.ndim != 2 or self.benefit.ndim != 1:
            raise InvalidRequestError(f"router data of {sorted(sizes)} inputs; give logits (N, classes), benefit (N,)")
        positive = int(self.benefit.sum())
        if min(positive, len(self.benefit) - positive) < MIN_OF_EACH:
            raise InvalidRequestError(
                f"in {positive} of {len(self.benefit)} inputs the little is wrong and the big right, and a learned "
                f"router needs {MIN_OF_EACH} with and without; give more held-out data, or use the router `margin`"
            )

    def rows(self, index: NDArray[np.int64]) -> RouterData:
        """Return these inputs alone."""
        at = torch.from_numpy(index)
        pooled = None if self.pooled is None else self.pooled[at]
        return RouterData(logits=self.logits[at], benefit=self.benefit[at], pooled=pooled)


class LearnedRouter(nn.Module):
    """Scores (N,) from logits (N, classes) and, if it was fitted with them, pooled features (N, F); all in float."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: RouterFeatures, body: nn.Module) -> None:
        super().__init__()
        self.features, self.body = features, body
        self.register_buffer("mean", torch.zeros(features.size))
        self.register_buffer("scale", torch.ones(features.size))

    def standardise(self, logits: Tensor, pooled: Tensor | None) -> None:
        """Take mean and standard deviation of the features from these inputs."""
        values = self.features(logits, pooled)
        spread = values.std(dim=0)
        self.mean.copy_(values.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, logits: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Return (N,) scores, higher is surer; escalate when `score < threshold`."""
        log_odds: Tensor = self.body(self.standardised(logits, pooled))
        return -log_odds[:, 0]

    def standardised(self, logits: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Return (N, size) what the body reads."""
        return (self.features(logits, pooled) - self.mean) / self.scale

    def scores(self, logits: Tensor, pooled: Tensor | None = None) -> NDArray[np.float32]:
        """Return (N,) scores as an array."""
        with torch.inference_mode():
            return np.asarray(self(logits.float(), pooled).numpy())


def _logistic(size: int) -> nn.Module:
    return nn.Linear(size, 1)


def _mlp(size: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))


BODIES: dict[str, Callable[[int], nn.Module]] = {"logistic": _logistic, "mlp": _mlp}


def fit_learned_router(data: RouterData, *, kind: str = "logistic", seed: int = 0) -> LearnedRouter:
    """Return the router of least regularised cross-entropy on held-out `data`.

    All inputs at once by L-BFGS with strong Wolfe line search, so that the same data and seed give the same router.

    Raises:
        InvalidRequestError: an unknown kind.
    """
    if kind not in BODIES:
        raise InvalidRequestError(f"unknown kind of learned router {kind!r}; choose one of: {', '.join(BODIES)}")
    logits, pooled = data.logits.float(), None if data.pooled is None else data.pooled.float()
    features = RouterFeatures(classes=logits.shape[1], pooled=0 if pooled is None else pooled.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        router = LearnedRouter(features, BODIES[kind](features.size))
    router.standardise(logits, pooled)
    _minimise(router, logits, pooled, data.benefit.float(), decay=DECAY[kind])
    return router.eval()


def untaught_router(classes: int) -> LearnedRouter:
    """Return a logistic router that nothing was learned for: its score is the margin of the two best log-probabilities.

    It stands in where held-out data hold too few inputs that escalation mends, in the same graph as a fitted one.
    """
    features = RouterFeatures(classes=classes)
    body = nn.Linear(features.size, 1)
    with torch.no_grad():
        body.weight.zero_()
        body.bias.zero_()
        body.weight[0, features.top] = -1.0  # the first margin follows the top probabilities
    return LearnedRouter(features, body).eval()


def can_learn(benefit: Tensor, *, folds: int = 1) -> bool:
    """Return whether a router can be fitted on inputs of this `benefit` (N,), or on all folds but one of them."""
    rarer = min(int(benefit.sum()), len(benefit) - int(benefit.sum()))
    left_out = -(-rarer // folds) if folds > 1 else 0
    return rarer - left_out >= MIN_OF_EACH


def crossfit_scores(
    data: RouterData, *, kind: str = "logistic", seed: int = 0, folds: int = FOLDS
) -> NDArray[np.float32]:
    """Return (N,) the score of each input by a router that was fitted on the other folds.

    Thresholds for the router of `fit_learned_router` on the same data are chosen by these: by its own scores they would
    look better than they are. Folds are stratified by the benefit.

    Raises:
        InvalidRequestError: an unknown kind, or too few inputs with or without benefit outside a fold.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.benefit))
    order = order[np.argsort(data.benefit.numpy()[order], kind="stable")]
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % folds
    scores = np.empty(len(order), dtype=np.float32)
    for index in range(folds):
        inside = np.flatnonzero(fold == index)
        router = fit_learned_router(data.rows(np.flatnonzero(fold != index)), kind=kind, seed=seed)
        at = torch.from_numpy(inside)
        scores[inside] = router.scores(data.logits[at], None if data.pooled is None else data.pooled[at].float())
    return scores


def _minimise(router: LearnedRouter, logits: Tensor, pooled: Tensor | None, benefit: Tensor, *, decay: float) -> None:
    parameters = list(router.body.parameters())
    optimiser = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    with torch.no_grad():
        values = router.standardised(logits, pooled)

    def _closure() -> Tensor:
        optimiser.zero_grad()
        fit = nn.functional.binary_cross_entropy_with_logits(router.body(values)[:, 0], benefit)
        weights = [p for p in parameters if p.ndim > 1]
        loss = fit + decay * torch.stack([weight.square().sum() for weight in weights]).sum()
        loss.backward()
        return loss

    optimiser.step(_closure)
