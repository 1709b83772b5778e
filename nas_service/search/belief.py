"""What the results so far let one believe of other candidates' curves: scales, kernels and a process, from a ledger.

A curve is believed as a curve: it is resampled to a fixed number of points along its first objective. Within an
objective, the points of one candidate's curve are in doubt together.
"""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cached_property

import numpy as np

from nas_service.front import Floats
from nas_service.ranking import best_candidates
from nas_service.search.ledger import Ledger
from nas_service.search.scaling import Scale, fitted_scale
from nas_service.search.surrogate import Features, GaussianProcess, Kernel, fitted_kernel

LEARNT = 280  # results that are learnt from at most: the best, then evenly from the rest
KERNEL_LEARNT = 160  # results that kernels are fitted to at most
KERNEL_GROWTH = 1.25  # kernels are fitted anew when there are so many times more results
CURVE_POINTS = 5
LEAST_CHANCE = 0.05
NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))  # Gauss and Hermite's, for normal integrals


class Belief:
    """Fitted on construction, to the results that `ledger` holds; a function of these alone.

    Args:
        ledger: at least two results.
        features: of the space.
        kernels: one for each objective, from `fitted_kernels`.
    """

    def __init__(self, ledger: Ledger, features: Features, kernels: list[Kernel]) -> None:
        self._objectives = len(ledger.objectives)
        chosen = learnt(ledger, count=ledger.told_count, limit=LEARNT)
        x, y = _examples(ledger, features, chosen)
        self._width = y.shape[1]
        self._scales = _scales(x, y, features)
        outputs = _scaled(y, self._scales)
        per_output = [kernel for kernel in kernels for _ in range(self._width)]
        self._process = GaussianProcess(x, outputs.reshape(len(x), -1), per_output)
        self._news = _news(ledger, features, chosen, x)

    @cached_property
    def taus(self) -> tuple[float, ...]:
        """For each objective, the mean over the curve of Kendall's tau of results that were left out (-1 to 1)."""
        taus = np.array(self._process.taus).reshape(self._objectives, self._width)
        return tuple(float(tau) for tau in taus.mean(axis=1))

    def expected(self, x: Floats) -> Floats:
        """The expected curves (n, k, d) at features (n, f)."""
        return self._curves(self._process.mean(x))

    def at(self, x: Floats, normals: Floats, *, given: Floats | None = None) -> Floats:
        """Curves (s, n, k, d) at features (n, f): so many deviations from the mean as `normals` (s, d) say.

        Deviations are those that are left once the outcomes at features `given` (p, f) are known too.
        """
        mean, deviation = self._process.mean(x), self._process.deviation(x, given=given)
        shifts = np.repeat(normals, self._width, axis=1)  # (s, d * k)
        values = mean[None] + shifts[:, None, :] * deviation[None]
        return self._curves(values.reshape(-1, mean.shape[1])).reshape(len(normals), len(x), self._width, -1)

    def chance(self, x: Floats) -> Floats:
        """How likely (n,) candidates at features (n, f) are to give a result that no other gives, in [0.05, 1]."""
        if self._news is None:
            return np.ones(len(x))
        return np.asarray(np.clip(self._news.mean(x)[:, 0], LEAST_CHANCE, 1.0), dtype=np.float64)

    def doubt(self, x: Floats) -> Floats:
        """The median deviation (m,) of the process's outputs at features (n, f)."""
        return np.asarray(np.median(self._process.deviation(x), axis=0), dtype=np.float64)

    def shifted(self, x: Floats, by: Floats) -> Floats:
        """The expected curves (n, k, d) at features (n, f), better by so much of the process's outputs (m,)."""
        return self._curves(self._process.mean(x) - by)

    def _curves(self, values: Floats) -> Floats:
        """Curves (n, k, d) of the process's outputs (n, d * k)."""
        parts = values.reshape(len(values), self._objectives, self._width)
        return np.stack([scale.backward(parts[:, m]) for m, scale in enumerate(self._scales)], axis=2)


def fitted_kernels(ledger: Ledger, features: Features, *, count: int) -> list[Kernel]:
    """The likeliest kernel of each objective, by the first `count` results alone."""
    x, y = _examples(ledger, features, learnt(ledger, count=count, limit=KERNEL_LEARNT))
    outputs = _scaled(y, _scales(x, y, features))
    return [fitted_kernel(x, _standardised(outputs[:, m]), features.groups) for m in range(y.shape[2])]


def milestone(count: int, *, first: int) -> int:
    """The last count of results, up to this one, at which kernels are fitted anew."""
    reached = first
    while (following := int(np.ceil(reached * KERNEL_GROWTH))) <= count:
        reached = following
    return reached


def learnt(ledger: Ledger, *, count: int, limit: int) -> list[int]:
    """The positions, ascending, of at most `limit` of the first `count` results: half the best, half evenly chosen."""
    if count <= limit:
        return list(range(count))
    early = ledger.owners < count
    best = [c for _, _, c in best_candidates(ledger.points[early], ledger.owners[early], limit=limit // 2)]
    rest = sorted(set(range(count)) - set(best))
    return sorted(best + [rest[i] for i in np.linspace(0, len(rest) - 1, limit - len(best)).astype(int)])


def quadrature(objectives: int) -> tuple[Floats, Floats]:
    """Nodes (s, d) and weights (s,) that integrate over a normal; one optimistic node beyond two objectives."""
    if objectives > 2:
        return np.full((1, objectives), -1.0), np.ones(1)
    combined = list(itertools.product(NODES, repeat=objectives))
    nodes = np.array([[node for node, _ in one] for one in combined])
    return nodes, np.array([np.prod([weight for _, weight in one]) for one in combined])


def _examples(ledger: Ledger, features: Features, chosen: list[int]) -> tuple[Floats, Floats]:
    """Features (n, f) and resampled curves (n, k, d) of these results."""
    told = ledger.told
    starts = np.searchsorted(ledger.owners, np.arange(len(told) + 1))
    curves = [ledger.points[starts[i] : starts[i + 1]] for i in chosen]
    width = CURVE_POINTS if any(len(curve) > 1 for curve in curves) else 1
    indexes = np.array([ledger.space.encode(told[i].x) for i in chosen])
    return features.rows(indexes), np.array([_resampled(curve, width) for curve in curves])


def _resampled(curve: Floats, width: int) -> Floats:
    """`width` points of a curve (n, d) that is sorted by its first objective, evenly by rank, ends included."""
    if width == 1:
        return curve[:1]
    return np.asarray(curve[np.round(np.linspace(0, len(curve) - 1, width)).astype(int)])


def _news(ledger: Ledger, features: Features, chosen: list[int], x: Floats) -> GaussianProcess | None:
    """A process of 1 at results of their own, 0 at failures and at results, in all figures, that another has too.

    Candidates that a space takes for different and that are the same, such as cells with edges on no path, give equal
    results to the last digit; where there are some, there are more. None where neither was seen.

    Args:
        ledger: what was told.
        features: of the space.
        chosen: the results that are learnt from, as positions.
        x: their features (n, f).
    """
    outcomes = [entry.outcome.points for entry in ledger.told if entry.outcome is not None]
    often = Counter(outcomes)
    own = np.array([1.0 if often[outcomes[i]] == 1 else 0.0 for i in chosen])
    failed = [e.x for e in ledger.entries if e.outcome is not None and e.outcome.failed][-LEARNT:]
    if own.all() and not failed:
        return None
    if failed:
        x = np.vstack([x, features.rows(np.array([ledger.space.encode(point) for point in failed]))])
    return GaussianProcess(x, np.concatenate([own, np.zeros(len(failed))])[:, None], [_plain_kernel(features)])


def _plain_kernel(features: Features) -> Kernel:
    """What a kernel is before anything is known: every gene matters a little."""
    count = int(features.groups.max()) + 1
    return Kernel(weights=np.full(len(features.groups), 1.5 / count), share=0.5, noise=0.03)


def _scales(x: Floats, y: Floats, features: Features) -> list[Scale]:
    """The likeliest scale of each objective under a plain kernel."""
    plain = _plain_kernel(features)
    centre = x.mean(axis=0)
    covariance = plain.between(x, x, centre) + plain.noise * np.eye(len(x))
    return [fitted_scale(y[:, :, m], covariance) for m in range(y.shape[2])]


def _scaled(y: Floats, scales: list[Scale]) -> Floats:
    """Curves (n, k, d) as (n, d, k) on their scales."""
    return np.stack([scale.forward(y[:, :, m]) for m, scale in enumerate(scales)], axis=1)


def _standardised(y: Floats) -> Floats:
    spread = y.std(axis=0)
    return np.asarray((y - y.mean(axis=0)) / np.where(spread > 0, spread, 1.0), dtype=np.float64)
