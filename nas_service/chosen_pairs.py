"""Which pairs of a space to measure so that most can be predicted of the others: far apart, the extremes first."""

from __future__ import annotations

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.half import halves_of
from nas_service.half_features import Floats, half_features
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan

DRAWN = 300
SEED = 0


def chosen_pairs(space: PairSpace, count: int) -> list[PairPlan]:
    """Return up to `count` pairs, most telling first: those chosen for fewer are the first of those chosen for more.

    They depend on the space alone, so whoever asks for them anew finds what is measured already. The smallest and the
    largest of every coupling come first; then, again and again, that of 300 drawn pairs whose layers are least like
    those of the pairs chosen before (Gonzalez, 1985).

    Raises:
        InvalidRequestError: `count` is below 1.
    """
    if count < 1:
        raise InvalidRequestError(f"{count} pairs were asked for; choose at least 1")
    extremes = [space.extreme(c, largest=largest) for c in space.definition.couplings for largest in (False, True)]
    rng = np.random.default_rng(SEED)
    points = [*extremes, *(space.sample(rng) for _ in range(DRAWN))]
    every = [space.plan(point) for point in points if space.is_feasible(point)]
    plans = list({tuple(plan.structures("msp").values()): plan for plan in every}.values())  # nested may be independent
    if not plans:
        return []
    rows = _rows(plans)
    first, chosen = sum(map(space.is_feasible, extremes)), [0]
    distance = _distance(rows, 0)
    while len(chosen) < min(count, len(plans)):
        further = next((i for i in range(1, min(first, len(plans))) if i not in chosen), int(distance.argmax()))
        chosen.append(further)
        distance = np.minimum(distance, _distance(rows, further))
        distance[chosen] = -1.0
    return [plans[i] for i in chosen]


def _rows(plans: list[PairPlan]) -> Floats:
    """Return both halves' features (n, 2f) on scales on which each differs by about as much."""
    halves = [halves_of(plan) for plan in plans]
    rows = np.hstack([np.log1p(half_features([pair[half] for pair in halves])) for half in ("little", "big")])
    spread = rows.std(axis=0)
    return np.asarray(rows / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def _distance(rows: Floats, index: int) -> Floats:
    return np.asarray(((rows - rows[index]) ** 2).sum(axis=1), dtype=np.float64)
