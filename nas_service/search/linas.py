"""LINAS: an evolutionary search on surrogates that are refitted as results come in.

After Cummings et al., "Lightweight iterative NAS", arXiv 2205.10358. Intended departures: one Gaussian process for
all objectives instead of ridge or support vectors, because its uncertainty is needed; the inner search ranks by an
optimistic bound; the batch is chosen one by one, each for the hypervolume it would add to the front and to what is
already in flight (kriging believer), so that it spreads by itself. The first two points are the space's corners,
the next ones spread out at random.

A curve is predicted as a curve: it is resampled to a fixed number of points along its first objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_service.choice_space import Point
from nas_service.front import Floats, adaptive_reference, hypervolume, non_dominated
from nas_service.ranking import best_candidates
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.ledger import Ledger
from nas_service.search.surrogate import Features, GaussianProcess

GENERATIONS = 3
OFFSPRING = 120
SHORTLIST = 50
LEARNT = 240  # results that a surrogate learns from at most: the best, then evenly from the rest
CURVE_POINTS = 4
OPTIMISM = 0.5  # standard deviations below the mean


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What follows from the results alone: the surrogate, and a shortlist with its optimistic curves (n, k, d)."""

    surrogate: GaussianProcess
    front: Floats
    reference: Floats
    keys: tuple[str, ...]
    points: tuple[Point, ...]
    curves: Floats


class LinasProposer(StatelessProposer):
    """Surrogate-assisted search; a plan is made per result and read once per ask."""

    draws = 4

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space
        self._seed = setting.seed
        self._features = Features(setting.space)
        self._startup = max(6, min(20, round(setting.budget / 10)))
        self._plan: _Plan | None = None
        self._known = -1

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """The shortlisted point that adds most; before `startup` results, one that spreads."""
        if ledger.told_count < max(2, self._startup):
            return self._spread(ledger, rng)
        plan = self._planned(ledger)
        front = self._with_pending(plan, ledger)
        whole = hypervolume(front, plan.reference)
        best, best_gain = None, -1.0
        for key, point, curve in zip(plan.keys, plan.points, plan.curves, strict=True):
            if key not in ledger:
                gain = hypervolume(np.vstack([front, curve]), plan.reference) - whole
                if gain > best_gain:
                    best, best_gain = point, gain
        if best is not None and best_gain > 0:
            return best
        return self._space.mutate(best or ledger.told[int(rng.integers(ledger.told_count))].x, rng)

    def taus(self, ledger: Ledger) -> tuple[float, ...]:
        """How well the surrogate orders results that it did not see, per output; empty before there is one."""
        return self._planned(ledger).surrogate.taus if ledger.told_count >= max(2, self._startup) else ()

    def _spread(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A corner first, then of some random points the one farthest from all known ones."""
        if ledger.asked < 2:
            return self._space.decode([ledger.asked * (len(v) - 1) for v in self._space.choices.values()])
        drawn = [self._space.fold(self._space.sample(rng)) for _ in range(16)]
        known = self._rows([e.x for e in ledger.entries])
        apart = np.abs(self._rows(drawn)[:, None] - known[None]).sum(axis=2).min(axis=1)
        return drawn[int(apart.argmax())]

    def _planned(self, ledger: Ledger) -> _Plan:
        if self._plan is None or self._known != ledger.told_count:
            self._plan, self._known = self._make_plan(ledger), ledger.told_count
        return self._plan

    def _make_plan(self, ledger: Ledger) -> _Plan:
        rng = np.random.default_rng([self._seed, ledger.told_count, 1])
        told = ledger.told
        ranked = [c for _, _, c in best_candidates(ledger.points, ledger.owners, limit=LEARNT // 2)]
        learnt = ranked + _evenly([i for i in range(len(told)) if i not in set(ranked)], LEARNT - len(ranked))
        curves = [np.array(told[i].outcome.points) for i in learnt if told[i].outcome]  # type: ignore[union-attr]
        width = CURVE_POINTS if any(len(c) > 1 for c in curves) else 1
        outputs = np.array([_resampled(c, width).ravel() for c in curves])
        surrogate = GaussianProcess(self._rows([told[i].x for i in learnt]), outputs)
        pool = {ledger.told[i].key: told[i].x for i in ranked[:40]}
        bounds = np.empty((0, width, len(ledger.objectives)))
        for _ in range(GENERATIONS):
            pool = self._grown(pool, rng)
            mean, deviation = surrogate.predict(self._rows(list(pool.values())))
            bounds = (mean - OPTIMISM * deviation).reshape(len(pool), width, -1)
            kept = _shortlisted(bounds, [key in ledger for key in pool], SHORTLIST)
            pool = {k: x for i, (k, x) in enumerate(pool.items()) if i in kept}
            bounds = bounds[sorted(kept)]
        return _Plan(
            surrogate=surrogate,
            front=ledger.points[non_dominated(ledger.points)],
            reference=adaptive_reference(ledger.points),
            keys=tuple(pool),
            points=tuple(pool.values()),
            curves=bounds,
        )

    def _grown(self, pool: dict[str, Point], rng: np.random.Generator) -> dict[str, Point]:
        """The pool with feasible children, mutants and a few random points."""
        parents, grown = list(pool.values()), dict(pool)
        for i in range(OFFSPRING):
            if i % 8 == 0:
                raw = self._space.sample(rng)
            else:
                raw = parents[int(rng.integers(len(parents)))]
                if i % 2:
                    raw = self._space.crossover(raw, parents[int(rng.integers(len(parents)))], rng)
                raw = self._space.mutate(raw, rng)
            key, point = self._space.resolve(raw)
            if key not in grown and self._space.is_feasible(point):
                grown[key] = point
        return grown

    def _with_pending(self, plan: _Plan, ledger: Ledger) -> Floats:
        """The front, and what the surrogate believes of candidates in flight."""
        pending = ledger.pending
        if not pending:
            return plan.front
        mean, _ = plan.surrogate.predict(self._rows([e.x for e in pending]))
        return np.vstack([plan.front, mean.reshape(-1, plan.front.shape[1])])

    def _rows(self, points: list[Point]) -> Floats:
        return self._features.rows(np.array([self._space.encode(x) for x in points]))


def _resampled(curve: Floats, width: int) -> Floats:
    """`width` points of a curve (n, d) that is sorted by its first objective, evenly by rank, ends included."""
    if width == 1:
        return curve[:1]
    return np.asarray(curve[np.round(np.linspace(0, len(curve) - 1, width)).astype(int)])


def _evenly(items: list[int], count: int) -> list[int]:
    if len(items) <= count:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def _shortlisted(curves: Floats, known: list[bool], limit: int) -> set[int]:
    """The best `limit` new candidates by layer and exclusive hypervolume, and the known ones on the first layer."""
    count, width, objectives = curves.shape
    owners = np.repeat(np.arange(count), width)
    ranked = best_candidates(curves.reshape(-1, objectives), owners, limit=limit + sum(known))
    fresh = [c for _, _, c in ranked if not known[c]][:limit]
    return set(fresh) | {c for layer, _, c in ranked if known[c] and layer == 0} or {0}
