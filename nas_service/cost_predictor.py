"""Predicting what a half costs on a board class from what others cost there, with doubt and with proof.

Costs add up over kernels (nn-Meter, Zhang et al., MobiSys 2021): non-negative least squares of relative errors over
`half_features`. What the sum misses, such as layouts and caches, is small and smooth: a Gaussian process over the
logarithm of measured over summed (Rasmussen and Williams, 2006, algorithm 2.1, leave-one-out by 5.10 to 5.12). Its
spread is scaled so that the left-out errors are as large as it says they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from nas_service.half import HalfStructure
from nas_service.half_features import WHOLE, half_features

Floats: TypeAlias = NDArray[np.float64]

LEAST_HALVES = 20
FOLDS = 5
NEAR = 0.1  # an error up to this share of the cost counts as hit
BAR_TAU = 0.7
BAR_MAPE = 0.1
SAME_MAPE = 0.02
_RIDGE = 1e-3
_LENGTHS = (2.0, 4.0, 8.0, 16.0)
_NOISES = (0.02, 0.1, 0.3, 1.0, 10.0)
_OUTLIER = 0.2  # a left-out error counts as no more than this when lengths and noise are chosen
_LEAST_SPREAD = 0.01
_SAME = 1e-9
_LEAST_SHARE = 1e-3
_BEND = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How predictions come out on halves that were left out of the fit.

    Attributes:
        halves: How many were measured.
        within: Share in [0, 1] predicted within 10 %.
        mape: Mean absolute error over the cost.
        tau: Kendall's tau of predicted and measured.
    """

    halves: int
    within: float
    mape: float
    tau: float

    @property
    def usable(self) -> bool:
        """Whether it is good enough to decide by: a mean error of at most 10 %, and tau of at least 0.7.

        Costs that hardly differ have no order worth predicting: a mean error of at most 2 % is good enough, too.
        """
        return self.mape <= BAR_MAPE and (self.tau >= BAR_TAU or self.mape <= SAME_MAPE)

    def __str__(self) -> str:
        bar = "" if self.usable else f", not used (it needs tau {BAR_TAU:g} and {BAR_MAPE:.0%})"
        return (
            f"{self.within:.0%} of {self.halves} halves within {NEAR:.0%}, mean error {self.mape:.1%}, "
            f"Kendall's tau {self.tau:.2f}, each half left out of its fit{bar}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostPredictor:
    """A fit; make one with `fitted_predictor`.

    Attributes:
        weights: (f,) cost per feature, none negative.
        scale: (f,) what features are divided by for the process.
        used: (f,) which features differ among the measured halves.
        deviations: (g,) how much they differ.
        known: (n, g) the measured halves as the process sees them.
        inverse: (n, n) of the process's covariance.
        pull: (n,) the process's weights.
        length: Its length.
        noise: Variance of its noise over that of its signal.
        spread: Standard deviation of a left-out logarithm over that of the process.
    """

    weights: Floats
    scale: Floats
    used: NDArray[np.bool_]
    deviations: Floats
    known: Floats
    inverse: Floats
    pull: Floats
    length: float
    noise: float
    spread: float

    def predict(self, halves: Sequence[HalfStructure]) -> tuple[Floats, Floats]:
        """Return the cost (n,) of each half, and its standard deviation (n,) as a share of the cost."""
        features = half_features(halves)
        near = _kernel(_smooth(features, self.scale)[:, self.used] / self.deviations, self.known, self.length)
        variance = 1.0 + self.noise - np.einsum("ij,jk,ik->i", near, self.inverse, near)
        costs = _summed(features, self.weights) * np.exp(near @ self.pull)
        return costs, np.maximum(self.spread * np.sqrt(np.maximum(variance, 0.0)), _LEAST_SPREAD)


def fitted_predictor(halves: Sequence[HalfStructure], costs: Sequence[float]) -> CostPredictor:
    """Return the fit to what these halves cost, in any one unit.

    Raises:
        InvalidRequestError: fewer than 20 halves, or costs that are not positive numbers.
    """
    return _fit(half_features(halves), _checked(halves, costs))


def cross_validated(halves: Sequence[HalfStructure], costs: Sequence[float]) -> Quality:
    """Return how well each fifth of the halves is predicted by a fit to the others; raises as `fitted_predictor`."""
    truth = _checked(halves, costs)
    fold = np.random.default_rng(0).permutation(len(truth)) % FOLDS
    predicted = np.empty(len(truth))
    for index in range(FOLDS):
        inside = [half for half, other in zip(halves, fold != index, strict=True) if other]
        left_out = [half for half, other in zip(halves, fold == index, strict=True) if other]
        predicted[fold == index] = _fit(half_features(inside), truth[fold != index]).predict(left_out)[0]
    return quality_of(predicted, truth)


def quality_of(predicted: Floats, truth: Floats) -> Quality:
    """Return how well costs (n,) were predicted; orders that cannot be told, as of equal costs, count as tau 0."""
    from scipy.stats import kendalltau  # takes a second to import

    errors = np.abs(predicted / truth - 1)
    tau = float(kendalltau(predicted, truth).statistic) if np.ptp(truth) and np.ptp(predicted) else 0.0
    return Quality(
        halves=len(truth),
        within=float((errors <= NEAR).mean()),
        mape=float(errors.mean()),
        tau=tau if np.isfinite(tau) else 0.0,
    )


def _checked(halves: Sequence[HalfStructure], costs: Sequence[float]) -> Floats:
    values = np.asarray(costs, dtype=np.float64)
    if len(halves) != len(values) or len(values) < LEAST_HALVES:
        raise InvalidRequestError(
            f"{len(halves)} halves with {len(values)} costs cannot be learnt from; measure at least {LEAST_HALVES}"
        )
    if bad := int((~np.isfinite(values) | (values <= 0)).sum()):
        raise InvalidRequestError(f"{bad} of {len(values)} costs are not positive numbers; measure those halves again")
    return values


def _fit(features: Floats, costs: Floats) -> CostPredictor:
    largest = features.max(axis=0)
    scale = np.where(largest > 0, largest, 1.0)
    weights = _additive(features, costs, scale)
    rest = np.log(costs / _summed(features, weights))
    rows = _smooth(features, scale)
    used = np.asarray(rows.std(axis=0) > _SAME, dtype=np.bool_)
    deviations = rows[:, used].std(axis=0)
    known = rows[:, used] / deviations
    length, noise, spread = _chosen(known, rest)
    covariance = _kernel(known, known, length) + noise * np.eye(len(known))
    inverse = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    fitted = min(int(np.count_nonzero(weights)), len(costs) // 2)  # what these explain was not left out
    spread *= float(np.sqrt(len(costs) / (len(costs) - fitted)))
    return CostPredictor(
        weights=weights,
        scale=scale,
        used=used,
        deviations=deviations,
        known=known,
        inverse=inverse,
        pull=np.asarray(inverse @ rest, dtype=np.float64),
        length=length,
        noise=noise,
        spread=spread,
    )


def _additive(features: Floats, costs: Floats, scale: Floats) -> Floats:
    """Return the non-negative weights (f,) with the least relative errors, drawn a little towards zero."""
    from scipy.optimize import nnls  # takes a while to import

    relative = features / scale / costs[:, None]
    pull = np.sqrt(_RIDGE) * np.eye(features.shape[1]) / np.median(costs)
    matrix, target = np.vstack([relative, pull]), np.concatenate([np.ones(len(costs)), np.zeros(len(pull))])
    weights = nnls(matrix, target)[0] / scale
    weights[WHOLE.index("graph")] += _LEAST_SHARE * costs.min()  # so that no half's sum is zero
    return np.asarray(weights, dtype=np.float64)


def _summed(features: Floats, weights: Floats) -> Floats:
    return np.asarray(features @ weights, dtype=np.float64)


def _smooth(features: Floats, scale: Floats) -> Floats:
    """Return features on a scale where a doubling counts about the same, be they large or small."""
    return np.asarray(np.log1p(_BEND * features / scale), dtype=np.float64)


def _kernel(a: Floats, b: Floats, length: float) -> Floats:
    return np.asarray(np.exp(-_squares(a, b) / (2 * length**2)), dtype=np.float64)


def _squares(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


def _chosen(known: Floats, rest: Floats) -> tuple[float, float, float]:
    """Return the length and the noise for which left-out halves come out best, and the spread that explains those."""
    squares = _squares(known, known)
    best, loss = (_LENGTHS[0], _NOISES[0], 0.0), np.inf
    for length in _LENGTHS:
        values, vectors = np.linalg.eigh(np.exp(-squares / (2 * length**2)))
        for noise in _NOISES:
            inverse = (vectors / (np.maximum(values, 0.0) + noise)) @ vectors.T
            variance = 1.0 / np.diag(inverse)
            errors = (inverse @ rest) * variance
            found = float((np.minimum(np.abs(errors), _OUTLIER) ** 2).mean())
            if found < loss:
                best, loss = (length, noise, float(np.sqrt((errors**2 / variance).mean()))), found
    return best
