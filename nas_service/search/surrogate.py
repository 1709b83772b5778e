"""A Gaussian process over the points of a choice space, for several outputs at once.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: prediction by algorithm 2.1, leave-one-out
by equations 5.10 to 5.12. The kernel is a mixture of a linear one (costs add up over genes) and a Matérn 5/2; its
scale, mixture and noise come from a small grid, for each output the member with the largest likelihood.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from nas_service.choice_space import ChoiceSpace
from nas_service.front import Floats

SCALES = (0.7, 1.5, 3.0, 6.0)
LINEAR_SHARES = (0.1, 0.6)
NOISES = (1e-4, 3e-2)
CLIP_SIGMA = 4.0


class Features:
    """Points as rows of numbers: a position in [0, 1] for an ordinal gene, else one column per value."""

    def __init__(self, space: ChoiceSpace) -> None:
        self._columns = [(len(values), space.is_ordinal(name)) for name, values in space.choices.items()]

    def rows(self, indexes: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
        """The features (n, f) of points given as indexes (n, genes)."""
        parts = []
        for gene, (count, ordinal) in enumerate(self._columns):
            column = indexes[:, gene]
            if count == 1:
                continue
            parts.append(column[:, None] / (count - 1) if ordinal else np.eye(count)[column] * 0.7)
        return np.hstack(parts) if parts else np.zeros((len(indexes), 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One output's kernel: length scale, linear share, noise; and what prediction needs."""

    scale: float
    linear: float
    weights: Floats
    factor: Floats
    tau: float


class GaussianProcess:
    """Fitted on construction.

    Args:
        x: features (n, f), n >= 2.
        y: outputs (n, m); each is standardised, and clipped at 4 standard deviations.
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        self._x, self._mean_x = x, x.mean(axis=0)
        self._mean, spread = y.mean(axis=0), y.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        scaled = np.clip((y - self._mean) / self._spread, -CLIP_SIGMA, CLIP_SIGMA)
        self._members = _fitted(x, x - self._mean_x, scaled)

    @property
    def taus(self) -> tuple[float, ...]:
        """For each output, Kendall's tau between what was told and what the others predict of it (-1 to 1)."""
        return tuple(member.tau for member in self._members)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation, (n, m) each, at features (n, f)."""
        distance = _distances(x, self._x)
        product = (x - self._mean_x) @ (self._x - self._mean_x).T
        own = ((x - self._mean_x) ** 2).sum(axis=1)
        means, deviations = [], []
        solved: dict[int, Floats] = {}
        for member in self._members:
            cross = _kernel(distance, product, scale=member.scale, linear=member.linear)
            if id(member.factor) not in solved:
                solved[id(member.factor)] = (solve_triangular(member.factor, cross.T, lower=True) ** 2).sum(axis=0)
            prior = 1.0 - member.linear + member.linear * own
            means.append(cross @ member.weights)
            deviations.append(np.sqrt(np.maximum(prior - solved[id(member.factor)], 1e-10)))
        mean, deviation = np.stack(means, axis=1), np.stack(deviations, axis=1)
        return mean * self._spread + self._mean, deviation * self._spread


def _fitted(x: Floats, centred: Floats, y: Floats) -> list[_Member]:
    """The likeliest kernel of the grid for each column of y (n, m)."""
    distance, product = _distances(x, x), centred @ centred.T
    best: list[tuple[float, _Member | None]] = [(-np.inf, None)] * y.shape[1]
    for scale, linear, noise in itertools.product(SCALES, LINEAR_SHARES, NOISES):
        kernel = _kernel(distance, product, scale=scale, linear=linear)
        factor = cholesky(kernel + (noise + 1e-8) * np.eye(len(x)), lower=True)
        weights = cho_solve((factor, True), y)
        log_det = 2 * float(np.log(np.diag(factor)).sum())
        for column in range(y.shape[1]):
            fit = float(y[:, column] @ weights[:, column])
            # the signal's variance is profiled out: its best value is the fit per point
            likelihood = -0.5 * (len(x) * np.log(max(fit, 1e-12) / len(x)) + log_det)
            if likelihood > best[column][0]:
                member = _Member(scale=scale, linear=linear, weights=weights[:, column], factor=factor, tau=0.0)
                best[column] = (likelihood, member)
    return [_with_tau(member, y[:, c]) for c, (_, member) in enumerate(best) if member is not None]


def _with_tau(member: _Member, y: Floats) -> _Member:
    from scipy.stats import kendalltau  # takes a second to import, and every command imports the searchers' names

    inverse = solve_triangular(member.factor, np.eye(len(y)), lower=True)
    left_out = y - member.weights / (inverse**2).sum(axis=0)
    tau = kendalltau(left_out, y).statistic if np.ptp(y) > 0 and np.ptp(left_out) > 0 else 1.0
    return _Member(
        scale=member.scale, linear=member.linear, weights=member.weights, factor=member.factor, tau=float(tau)
    )


def _distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances (n, m)."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), dtype=np.float64)


def _kernel(distance: Floats, product: Floats, *, scale: float, linear: float) -> Floats:
    r = np.sqrt(5.0) * distance / scale
    matern = (1 + r + r**2 / 3) * np.exp(-r)
    return np.asarray((1 - linear) * matern + linear * product, dtype=np.float64)
