"""LINAS: surrogates that are refitted as results come in, and a search on them for what to evaluate next.

After Cummings et al., "Lightweight iterative NAS", arXiv 2205.10358. Intended departures: a Gaussian process for each
objective instead of ridge or support vectors, because its uncertainty is needed; the inner search looks for the
hypervolume that a candidate may be expected to add, over the whole space where that can be listed; the batch is chosen
one by one, each as if what is in flight had come out as expected, so that it spreads by itself. The first two points
are the space's corners, the next ones spread out at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_service.choice_space import Point
from nas_service.front import Floats, non_dominated
from nas_service.ranking import best_candidates
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.belief import Belief, fitted_kernels, milestone, quadrature
from nas_service.search.improvement import improvements, normal_draws
from nas_service.search.ledger import Ledger
from nas_service.search.pool import Indexes, Pool
from nas_service.search.surrogate import Features, Kernel

SHORTLIST = 160
EXAMINED = 1000  # of a listed space, by their expected curves, before uncertainty is looked at
DRAWS = 32
PARENTS = 40
WIDER = 1.0  # the near reference lies beyond the front's nadir by so much of its span: the ends count
FARTHEST = 10.0  # the far one by at most so much


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What follows from the results, and from what was known when the last one came."""

    belief: Belief
    front: Floats
    reference: Floats
    keys: tuple[str, ...]
    points: tuple[Point, ...]
    rows: Floats
    normals: Floats


class LinasProposer(StatelessProposer):
    """Surrogate-assisted search; a plan is made per result and read once per ask."""

    draws = 4

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space
        self._seed = setting.seed
        self._features = Features(setting.space)
        self._pool = Pool(setting.space)
        self._startup = max(6, min(12, round(setting.budget / 10)))
        self._plan: _Plan | None = None
        self._known = -1
        self._kernels: list[Kernel] = []
        self._fitted = -1

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """The shortlisted point that may be expected to add most; before `startup` results, one that spreads."""
        if ledger.told_count < max(2, self._startup):
            return self._spread(ledger, rng)
        plan = self._planned(ledger)
        left = [i for i, key in enumerate(plan.keys) if key not in ledger]
        if left:
            gains = self._gains(plan, left, ledger)
            if gains.max() > 0:
                return plan.points[left[int(gains.argmax())]]
        best = best_candidates(ledger.points, ledger.owners, limit=PARENTS)
        return self._space.mutate(ledger.told[best[int(rng.integers(len(best)))][2]].x, rng)

    def taus(self, ledger: Ledger) -> tuple[float, ...]:
        """How well the surrogate orders results that it did not see, per objective; empty before there is one."""
        return self._planned(ledger).belief.taus if ledger.told_count >= max(2, self._startup) else ()

    def _spread(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A corner first, then of some random points the one farthest from all known ones."""
        if ledger.asked < 2:
            return self._space.decode([ledger.asked * (len(v) - 1) for v in self._space.choices.values()])
        drawn = [self._space.fold(self._space.sample(rng)) for _ in range(16)]
        known = self._rows([e.x for e in ledger.entries])
        apart = np.abs(self._rows(drawn)[:, None] - known[None]).sum(axis=2).min(axis=1)
        return drawn[int(apart.argmax())]

    def _gains(self, plan: _Plan, left: list[int], ledger: Ledger) -> Floats:
        """The hypervolume that each of these may be expected to add to the front and to what is in flight."""
        front, pending = plan.front, None
        if ledger.pending:
            pending = self._rows([e.x for e in ledger.pending])
            front = np.vstack([front, plan.belief.expected(pending).reshape(-1, front.shape[1])])
        curves = plan.belief.at(plan.rows[left], plan.normals, given=pending)
        gains = improvements(curves.reshape(-1, *curves.shape[2:]), front, plan.reference)
        mean = gains.reshape(len(plan.normals), -1).mean(axis=0)
        return np.asarray(mean * plan.belief.chance(plan.rows[left]), dtype=np.float64)

    def _planned(self, ledger: Ledger) -> _Plan:
        if self._plan is None or self._known != ledger.tells:
            self._plan, self._known = self._make_plan(ledger), ledger.tells
        return self._plan

    def _make_plan(self, ledger: Ledger) -> _Plan:
        rng = np.random.default_rng([self._seed, ledger.told_count, 1])
        fitted = milestone(ledger.told_count, first=max(2, self._startup))
        if fitted != self._fitted:
            self._kernels, self._fitted = fitted_kernels(ledger, self._features, count=fitted), fitted
        belief = Belief(ledger, self._features, self._kernels)
        objectives = len(ledger.objectives)
        front = ledger.points[non_dominated(ledger.points)]
        reference = _reference(ledger.points, front)
        indexes = self._shortlisted(belief, front, reference, ledger, rng)
        resolved = [self._space.resolve(self._space.decode(row)) for row in indexes.tolist()]
        return _Plan(
            belief=belief,
            front=front,
            reference=reference,
            keys=tuple(key for key, _ in resolved),
            points=tuple(point for _, point in resolved),
            rows=self._features.rows(indexes),
            normals=normal_draws(DRAWS if objectives <= 2 else 8, objectives, rng),
        )

    def _shortlisted(
        self, belief: Belief, front: Floats, reference: Floats, ledger: Ledger, rng: np.random.Generator
    ) -> Indexes:
        """New candidates with the largest expected improvement, as indexes."""
        nodes, weights = quadrature(front.shape[1])

        def score(indexes: Indexes) -> Floats:
            rows = self._features.rows(indexes)
            curves = belief.at(rows, nodes)
            gains = improvements(curves.reshape(-1, *curves.shape[2:]), front, reference)
            return np.asarray((weights @ gains.reshape(len(nodes), -1)) * belief.chance(rows), dtype=np.float64)

        if self._pool.is_listed:
            found = self._examined(self._pool.listed(ledger), belief, front, reference, rng)
        else:
            best = best_candidates(ledger.points, ledger.owners, limit=PARENTS)
            parents = np.array([self._space.encode(ledger.told[c].x) for _, _, c in best])
            found = self._pool.evolved(parents, ledger, score, rng)
        if not len(found):
            return found
        limit = SHORTLIST if front.shape[1] <= 2 else SHORTLIST // 3
        return found[np.argsort(-score(found), kind="stable")[:limit]]

    def _examined(
        self, points: Indexes, belief: Belief, front: Floats, reference: Floats, rng: np.random.Generator
    ) -> Indexes:
        """Of all points, those whose expected curves, bettered by a common doubt, would add most."""
        if len(points) <= EXAMINED:
            return points
        some = self._features.rows(points[rng.choice(len(points), size=100, replace=False)])
        doubt = belief.doubt(some)
        gains = improvements(belief.shifted(self._features.rows(points), doubt), front, reference)
        return points[np.argsort(-gains, kind="stable")[:EXAMINED]]

    def _rows(self, points: list[Point]) -> Floats:
        return self._features.rows(np.array([self._space.encode(x) for x in points]))


def _reference(points: Floats, front: Floats) -> Floats:
    """Between a near reference, a little beyond the front's nadir, and a far one, the worst of all results.

    The farther it lies the more the front's ends count. Whoever judges the front has a reference of their own, which is
    not known here: near ones neglect the best of each objective, far ones the front's middle. However absurd a result,
    such as of a training that broke, it lies at most (WIDER + FARTHEST) / 2 of the front's spans beyond the nadir.
    """
    ideal, nadir = front.min(axis=0), front.max(axis=0)
    span = np.where(nadir > ideal, nadir - ideal, np.ptp(points, axis=0))
    span = np.where(span > 0, span, np.where(nadir != 0, np.abs(nadir), 1.0))
    far = np.minimum(points.max(axis=0), nadir + FARTHEST * span)
    return np.asarray((nadir + WIDER * span + far) / 2, dtype=np.float64)
