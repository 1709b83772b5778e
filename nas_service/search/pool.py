"""The candidates that a surrogate is asked about: the whole space where it is small, else what evolves in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nas_service.choice_space import ChoiceSpace
from nas_service.front import Floats
from nas_service.search.ledger import Ledger

Indexes: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]
Score: TypeAlias = Callable[[Indexes], Floats]
"""Points as indexes (n, genes) -> how promising each is (n,), larger is better."""

LISTED = 50_000  # points of a space that are all looked at
LISTED_FOLDED = 10_000  # the same where every point must be folded or checked, one by one
GENERATIONS = 7
OFFSPRING = 300
OFFSPRING_FOLDED = 80
KEPT = 100
FRESH = 0.1  # of the offspring are drawn anew


class Pool:
    """New feasible candidates of a space, as indexes; what it remembers only saves work."""

    def __init__(self, space: ChoiceSpace) -> None:
        self._space = space
        self._counts = np.array([len(values) for values in space.choices.values()])
        self._ordinal = np.array([space.is_ordinal(name) for name in space.names])
        self._plain = not (space.folds or space.constrained)
        self._listed: tuple[list[str], Indexes] | None = None

    @property
    def is_listed(self) -> bool:
        """Whether all points of the space are looked at."""
        return self._space.size <= (LISTED if self._plain else LISTED_FOLDED)

    def listed(self, ledger: Ledger) -> Indexes:
        """All points that were not known when a result last came; only where `is_listed`."""
        heard = ledger.heard
        if self._plain:
            known = np.array([self._space.encode(e.x) for e in heard]).reshape(-1, len(self._counts))
            fresh = np.ones(self._space.size, dtype=bool)
            fresh[np.ravel_multi_index(tuple(known.T), tuple(self._counts))] = False
            return np.stack(np.unravel_index(np.flatnonzero(fresh), tuple(self._counts)), axis=1)
        keys, indexes = self._catalogue()
        old = {entry.key for entry in heard}
        return indexes[[key not in old for key in keys]]

    def evolved(self, parents: Indexes, ledger: Ledger, score: Score, rng: np.random.Generator) -> Indexes:
        """The same where it is not, found by a genetic search for a high score from these parents."""
        heard = ledger.heard
        known, keys = {tuple(self._space.encode(entry.x)) for entry in heard}, {entry.key for entry in heard}
        kept = self._allowed(np.vstack([self._drawn(2 * KEPT, rng), self._mutants(parents, KEPT, rng)]), known, keys)
        if not len(kept):
            return kept
        values = score(kept)
        for _ in range(GENERATIONS):
            order = np.argsort(-values, kind="stable")[:KEPT]
            kept, values = kept[order], values[order]
            children = self._allowed(self._children(np.vstack([kept, parents]), rng), known, keys)
            if len(children):
                kept, values = np.vstack([kept, children]), np.concatenate([values, score(children)])
        return kept

    def _children(self, parents: Indexes, rng: np.random.Generator) -> Indexes:
        count = OFFSPRING if self._plain else OFFSPRING_FOLDED
        # the better a parent the earlier it stands: the lesser of two draws is a tournament
        first, second = (rng.integers(len(parents), size=(count, 2)).min(axis=1) for _ in range(2))
        mixed = np.where(rng.random((count, len(self._counts))) < 0.5, parents[first], parents[second])
        children = np.where(rng.random((count, 1)) < 0.6, mixed, parents[first])
        return np.vstack([self._mutants(children, count, rng), self._drawn(int(FRESH * count), rng)])

    def _mutants(self, parents: Indexes, count: int, rng: np.random.Generator) -> Indexes:
        """`count` points near the parents: each gene changes with probability 1/genes, at least one."""
        points = np.resize(parents, (count, len(self._counts)))
        movable = np.flatnonzero(self._counts > 1)
        if not len(movable):
            return points
        changed = (rng.random(points.shape) < 1 / len(movable)) & (self._counts > 1)
        changed[np.arange(count), rng.choice(movable, size=count)] = True
        steps = points + np.where(rng.random(points.shape) < 0.5, 1, -1)
        adjacent = np.where((steps < 0) | (steps >= self._counts), 2 * points - steps, steps)
        shifted = (points + rng.integers(1, np.maximum(self._counts, 2), size=points.shape)) % self._counts
        near = self._ordinal & (self._counts > 1) & (rng.random(points.shape) < 0.5)
        return np.where(changed, np.where(near, adjacent, shifted), points)

    def _drawn(self, count: int, rng: np.random.Generator) -> Indexes:
        return rng.integers(self._counts, size=(count, len(self._counts)))

    def _allowed(self, points: Indexes, known: set[tuple[int, ...]], keys: set[str]) -> Indexes:
        """The feasible and folded ones of these points that are not `known`, each once; they become known.

        What folds to one of `keys` is known too.
        """
        allowed = []
        for row in map(tuple, points.tolist()):
            if row in known:
                continue
            known.add(row)
            if self._plain:
                allowed.append(row)
                continue
            key, point = self._space.resolve(self._space.decode(row))
            folded = tuple(self._space.encode(point))
            if key in keys or (folded != row and folded in known) or not self._space.is_feasible(point):
                continue
            known.add(folded)
            allowed.append(folded)
        return np.array(allowed, dtype=np.intp).reshape(-1, len(self._counts))

    def _catalogue(self) -> tuple[list[str], Indexes]:
        """Every feasible phenotype of the space with its folded point."""
        if self._listed is None:
            found = dict(self._space.resolve(x) for x in self._space.enumerate())
            kept = {key: self._space.encode(x) for key, x in found.items() if self._space.is_feasible(x)}
            self._listed = list(kept), np.array(list(kept.values()), dtype=np.intp).reshape(-1, len(self._counts))
        return self._listed
