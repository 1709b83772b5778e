"""The evolutionary step: a population of pairs is scored with the weights they have now, and the best are kept.

NSGA-II's step (Deb et al., 2002) on curves: parents by binary tournaments, uniform crossover, mutation; parents and
children are scored alike, since the weights have changed since the parents' last score, and the best of both stay,
ranked by `nas_service.ranking` (the layer of a curve's best point, then its exclusive hypervolume).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas_service.choice_space import Point
from nas_service.curve import Curve
from nas_service.front import thin_curve
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.ranking import best_candidates

CROSSOVER_RATE = 0.9
ATTEMPTS = 200

Score = Callable[[PairPlan], Curve]


def step(
    space: PairSpace, population: Sequence[Point], *, size: int, score: Score, rng: np.random.Generator
) -> tuple[list[Point], int]:
    """Return the best `size` pairs, best first, of `population` and as many children, and how many were scored.

    An empty population is drawn at random. Only pairs that meet the space's constraints take part.

    Args:
        space: Of the pairs.
        population: Best first.
        size: Of the population.
        score: Returns a pair's curve.
        rng: All that is drawn is drawn from it.
    """
    members = _distinct(space, population)
    parents = list(members.values())
    for _ in range(ATTEMPTS * size):
        if len(members) >= len(parents) + size:
            break
        child = _child(space, parents, rng) if parents else space.sample(rng)
        key, point = space.resolve(child)
        if space.is_feasible(point):
            members.setdefault(key, point)
    pairs = list(members.values())
    rows = [_points(plan, score(plan)) for plan in map(space.plan, pairs)]
    if not rows:
        return [], 0
    owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    ranked = best_candidates(np.concatenate(rows), owners, limit=size)
    return [pairs[index] for _, _, index in ranked], len(pairs)


def frequencies(
    space: PairSpace, population: Sequence[Mapping[str, Any]], *, elite: float
) -> dict[str, tuple[float, ...]]:
    """Return gene -> the probability of each choice when a share `elite` of the pairs is drawn from `population`.

    The rest is uniform, so that no choice dies out.
    """
    return {
        name: tuple(
            round((1 - elite) / len(values) + elite * _share(population, name, value), 4)
            if population
            else 1 / len(values)
            for value in values
        )
        for name, values in space.choices.items()
        if name != "coupling"
    }


def _share(population: Sequence[Mapping[str, Any]], name: str, value: Any) -> float:
    return sum(point[name] == value for point in population) / len(population)


def _distinct(space: PairSpace, points: Sequence[Point]) -> dict[str, Point]:
    resolved = (space.resolve(point) for point in points)
    return {key: point for key, point in resolved if space.is_feasible(point)}


def _child(space: PairSpace, ranked: Sequence[Point], rng: np.random.Generator) -> Point:
    first, second = (ranked[int(rng.integers(len(ranked), size=2).min())] for _ in range(2))
    if rng.random() < CROSSOVER_RATE:
        first = space.crossover(first, second, rng)
    return space.mutate(first, rng)


def _points(plan: PairPlan, curve: Curve) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (n, 2) the curve's useful points: error in percent, expected MACs."""
    costs = curve.expected_cost(plan.little_macs, plan.tail_macs)
    rows = np.column_stack([100 * (1 - curve.accuracy), costs])
    return np.asarray(rows[thin_curve(rows)])
