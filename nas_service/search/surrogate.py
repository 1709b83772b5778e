"""A Gaussian process over the points of a choice space, for several outputs at once.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: prediction by algorithm 2.1, leave-one-out by
equations 5.10 to 5.12. The kernel is a mixture of a linear one (costs add up over genes) and a product over genes.
Every gene has a weight of its own, so that unimportant ones drop out; an ordinal gene has two, as a position and as a
mere name, because numbers may stand for anything. Weights, mixture and noise have the largest posterior density under
priors that expect many genes to matter a little (Hvarfner et al., "Vanilla Bayesian optimization performs great in high
dimensions", ICML 2024); the signal's variance is profiled out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from nas_service.choice_space import ChoiceSpace
from nas_service.front import Floats

ITERATIONS = 40
JITTER = 1e-8
BLOCK = 1024  # rows of covariances that are held at a time
WEIGHT_SPREAD = 1.5  # of the prior on a weight's logarithm
NOISE_PRIOR = (-4.0, 1.5)
SHARE_PRIOR = (0.0, 1.0)
BOUNDS = {"weight": (-8.0, 3.0), "share": (-4.0, 3.0), "noise": (-11.0, 1.0)}


class Features:
    """Points as rows of numbers: one column per value of a gene, and for an ordinal gene its position in [0, 1].

    Attributes:
        groups: (f,) which weight a column has; the columns of one gene's names share one.
    """

    def __init__(self, space: ChoiceSpace) -> None:
        self._columns = [(len(values), space.is_ordinal(name)) for name, values in space.choices.items()]
        groups: list[int] = []
        for count, ordinal in self._columns:
            if count > 1:
                groups += [max(groups, default=-1) + 1] * count
            if count > 2 and ordinal:
                groups.append(groups[-1] + 1)
        self.groups: np.ndarray[Any, np.dtype[np.intp]] = np.array(groups or [0], dtype=np.intp)

    def rows(self, indexes: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
        """The features (n, f) of points given as indexes (n, genes)."""
        parts = []
        for gene, (count, ordinal) in enumerate(self._columns):
            column = indexes[:, gene]
            if count > 1:
                parts.append(np.eye(count)[column] * np.sqrt(0.5))
            if count > 2 and ordinal:
                parts.append(column[:, None] / (count - 1) * 1.5)
        return np.hstack(parts) if parts else np.zeros((len(indexes), 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """A kernel's parameters.

    Attributes:
        weights: (f,) of the features' squared differences.
        share: of the linear part, in (0, 1).
        noise: variance of the noise over that of the signal.
    """

    weights: Floats
    share: float
    noise: float

    def between(self, a: Floats, b: Floats, centre: Floats) -> Floats:
        """Covariances (n, m) of features (n, f) and (m, f); the linear part turns about `centre`."""
        root = np.sqrt(self.weights)
        near = np.exp(-_squared_distances(a * root, b * root))
        linear = ((a - centre) * (2 * self.weights)) @ (b - centre).T
        return np.asarray((1 - self.share) * near + self.share * linear, dtype=np.float64)

    def applied(self, a: Floats, b: Floats, centre: Floats, vectors: Floats) -> Floats:
        """`between(a, b, centre) @ vectors`, (n, v), without ever holding all covariances."""
        root = np.sqrt(self.weights)
        right, own = b * root, ((b * root) ** 2).sum(axis=1)
        parts = []
        for start in range(0, len(a), BLOCK):
            left = a[start : start + BLOCK] * root
            near = left @ (2 * right).T
            near -= own
            near -= (left**2).sum(axis=1)[:, None]
            np.exp(np.minimum(near, 0.0, out=near), out=near)
            parts.append(near @ vectors)
        linear = ((a - centre) * (2 * self.weights)) @ ((b - centre).T @ vectors)
        return np.asarray((1 - self.share) * np.vstack(parts) + self.share * linear, dtype=np.float64)

    def own(self, a: Floats, centre: Floats) -> Floats:
        """Variances (n,) at features (n, f)."""
        return np.asarray(1 - self.share + self.share * 2 * ((a - centre) ** 2 @ self.weights), dtype=np.float64)


def fitted_kernel(x: Floats, y: Floats, groups: np.ndarray[Any, np.dtype[np.intp]]) -> Kernel:
    """The most probable kernel for standardised outputs y (n, m) at features x (n, f), one for all outputs."""
    from scipy.optimize import minimize  # takes a while to import, and every command imports the searchers' names

    count = int(groups.max()) + 1
    typical = np.log(1.5 / count)
    start = np.concatenate([np.full(count, typical), [SHARE_PRIOR[0], NOISE_PRIOR[0]]])
    bounds = [BOUNDS["weight"]] * count + [BOUNDS["share"], BOUNDS["noise"]]
    columns = np.eye(count)[groups]
    found = minimize(
        _cost,
        start,
        args=(x, x - x.mean(axis=0), y, columns, typical),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": ITERATIONS},
    )
    return _kernel_of(found.x, columns)


class GaussianProcess:
    """Fitted on construction.

    Args:
        x: features (n, f), n >= 2.
        y: outputs (n, m); each is standardised.
        kernels: one for each output; outputs may share one.
    """

    def __init__(self, x: Floats, y: Floats, kernels: list[Kernel]) -> None:
        self._x, self._centre = x, x.mean(axis=0)
        self._mean, spread = y.mean(axis=0), y.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        scaled = (y - self._mean) / self._spread
        self._kernels = kernels
        self._weights = np.empty_like(scaled)
        self._factors: dict[int, Floats] = {}
        for kernel in kernels:
            if id(kernel) not in self._factors:
                matrix = kernel.between(x, x, self._centre) + (kernel.noise + JITTER) * np.eye(len(x))
                self._factors[id(kernel)] = cholesky(matrix, lower=True)
        for column, kernel in enumerate(kernels):
            self._weights[:, column] = cho_solve((self._factors[id(kernel)], True), scaled[:, column])
        # the signal's standard deviation, in units of the standardised output
        self._signal = np.sqrt(np.maximum((scaled * self._weights).mean(axis=0), 1e-12))
        self._scaled = scaled

    @property
    def taus(self) -> tuple[float, ...]:
        """For each output, Kendall's tau between what was told and what the others predict of it (-1 to 1)."""
        return tuple(self._tau(column) for column in range(len(self._kernels)))

    def mean(self, x: Floats) -> Floats:
        """The expected outputs (n, m) at features (n, f)."""
        found = np.empty((len(x), len(self._kernels)))
        for kernel in {id(k): k for k in self._kernels}.values():
            columns = [c for c, k in enumerate(self._kernels) if k is kernel]
            found[:, columns] = kernel.applied(x, self._x, self._centre, self._weights[:, columns])
        return np.asarray(found * self._spread + self._mean, dtype=np.float64)

    def deviation(self, x: Floats, *, given: Floats | None = None) -> Floats:
        """Standard deviations (n, m) of what would be told at features (n, f), once `given` (p, f) are told too.

        The noise counts: a network's result, once evaluated, stays as it is, so a lucky one is as good as any.
        """
        known: dict[int, Floats] = {}
        for kernel in self._kernels:
            if id(kernel) not in known:
                known[id(kernel)] = self._variance(kernel, x, given)
        variance = np.stack([known[id(k)] for k in self._kernels], axis=1)
        return np.asarray(np.sqrt(variance) * self._signal * self._spread, dtype=np.float64)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation, (n, m) each, at features (n, f)."""
        return self.mean(x), self.deviation(x)

    def _variance(self, kernel: Kernel, x: Floats, given: Floats | None) -> Floats:
        factor = self._factors[id(kernel)]
        seen = solve_triangular(factor, kernel.between(self._x, x, self._centre), lower=True)
        variance = kernel.own(x, self._centre) + kernel.noise - (seen**2).sum(axis=0)
        if given is not None and len(given):
            near = solve_triangular(factor, kernel.between(self._x, given, self._centre), lower=True)
            among = kernel.between(given, given, self._centre) - near.T @ near
            extra = cholesky(among + (kernel.noise + 1e-6) * np.eye(len(given)), lower=True)
            across = kernel.between(given, x, self._centre) - near.T @ seen
            variance = variance - (solve_triangular(extra, across, lower=True) ** 2).sum(axis=0)
        return np.asarray(np.maximum(variance, 1e-10), dtype=np.float64)

    def _tau(self, column: int) -> float:
        from scipy.stats import kendalltau  # takes a second to import

        y, factor = self._scaled[:, column], self._factors[id(self._kernels[column])]
        inverse = solve_triangular(factor, np.eye(len(y)), lower=True)
        left_out = y - self._weights[:, column] / (inverse**2).sum(axis=0)
        if np.ptp(y) == 0 or np.ptp(left_out) == 0:
            return 1.0
        return float(kendalltau(left_out, y).statistic)


def _cost(
    parameters: Floats, x: Floats, centred: Floats, y: Floats, columns: Floats, typical: float
) -> tuple[float, Floats]:
    """The negative log posterior density of a kernel's parameters, and its gradient."""
    kernel = _kernel_of(parameters, columns)
    count, outputs = y.shape
    root = np.sqrt(kernel.weights)
    near = np.exp(-_squared_distances(x * root, x * root))
    linear = (centred * (2 * kernel.weights)) @ centred.T
    matrix = (1 - kernel.share) * near + kernel.share * linear + (kernel.noise + JITTER) * np.eye(count)
    factor = cholesky(matrix, lower=True)
    inverse = cho_solve((factor, True), np.eye(count))
    alpha = inverse @ y
    fit = np.maximum((y * alpha).sum(axis=0), 1e-12)
    cost = 0.5 * float((count * np.log(fit / count)).sum()) + outputs * float(np.log(np.diag(factor)).sum())
    outer = outputs * inverse - (alpha * (count / fit)) @ alpha.T
    pull = outer * near
    by_near = 2 * (pull.sum(axis=1) @ x**2) - 2 * (x * (pull @ x)).sum(axis=0)
    by_linear = 2 * (centred * (outer @ centred)).sum(axis=0)
    by_weight = kernel.weights * (-(1 - kernel.share) * by_near + kernel.share * by_linear)
    by_share = kernel.share * (1 - kernel.share) * (outer * (linear - near)).sum()
    gradient = 0.5 * np.concatenate([columns.T @ by_weight, [by_share, kernel.noise * np.trace(outer)]])
    centres = np.concatenate([np.full(columns.shape[1], typical), [SHARE_PRIOR[0], NOISE_PRIOR[0]]])
    spreads = np.concatenate([np.full(columns.shape[1], WEIGHT_SPREAD), [SHARE_PRIOR[1], NOISE_PRIOR[1]]])
    away = (parameters - centres) / spreads
    return cost + 0.5 * float(away @ away), gradient + away / spreads


def _kernel_of(parameters: Floats, columns: Floats) -> Kernel:
    weights = columns @ np.exp(parameters[:-2])
    return Kernel(weights=weights, share=float(1 / (1 + np.exp(-parameters[-2]))), noise=float(np.exp(parameters[-1])))


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """Squared Euclidean distances (n, m)."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0), dtype=np.float64)
