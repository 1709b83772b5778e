"""Which pairs of a space to measure so that most can be predicted of the others: far apart, the extremes first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.half import halves_of
from nas_service.half_features import Floats, half_features
from nas_service.pair_space import PairSpace
from nas_service.plan import COUPLINGS, Coupling, PairPlan

DRAWN = 150  # of each coupling, beside its extremes
EXTREMES = 2
SEED = 0


def chosen_pairs(space: PairSpace, count: int) -> list[PairPlan]:
    """Return up to `count` pairs, most telling first: those chosen for fewer are the first of those chosen for more.

    They depend on the space alone, so whoever asks for them anew finds what is measured already. Couplings take turns.
    Each begins with its smallest and its largest pair; then, again and again, comes that of 150 drawn pairs whose
    layers are least like those of the pairs before (Gonzalez, 1985). What a coupling's turns hold does not depend on
    the others, nor on the constraints, which only leave pairs out.

    Raises:
        InvalidRequestError: `count` is below 1.
    """
    if count < 1:
        raise InvalidRequestError(f"{count} pairs were asked for; choose at least 1")
    turns = [_spread(_drawn(space, coupling)) for coupling in space.definition.couplings]
    every = (plan for turn in itertools.zip_longest(*turns) for plan in turn if plan is not None)
    return list(_distinct(plan for plan in every if space.meets_constraints(plan)).values())[:count]


def table_pairs(space: PairSpace) -> list[PairPlan]:
    """Return all pairs that `chosen_pairs` may have chosen, however many were asked for and whatever was constrained.

    So a search of some couplings within constraints finds what was measured of the whole space.
    """
    drawn = (plan for coupling in space.definition.couplings for plan in _drawn(space, coupling))
    return list(_distinct(drawn).values())


def _drawn(space: PairSpace, coupling: Coupling) -> list[PairPlan]:
    """Return a coupling's smallest and largest pair, then pairs drawn from the other genes."""
    rng = np.random.default_rng([SEED, COUPLINGS.index(coupling)])
    genes = {name: values for name, values in space.choices.items() if name != "coupling"}
    points = [space.extreme(coupling, largest=largest) for largest in (False, True)]
    points += [
        {"coupling": coupling, **{name: values[int(rng.integers(len(values)))] for name, values in genes.items()}}
        for _ in range(DRAWN)
    ]
    return list(_distinct(space.plan(point) for point in points).values())


def _distinct(plans: Iterable[PairPlan]) -> dict[tuple[str, ...], PairPlan]:
    """Return plans by their structures; the first of each, as a nested pair may be an independent one."""
    found: dict[tuple[str, ...], PairPlan] = {}
    for plan in plans:
        found.setdefault(tuple(plan.structures("msp").values()), plan)
    return found


def _spread(plans: list[PairPlan]) -> Iterator[PairPlan]:
    """Yield the first two, then always the one that is least like those before."""
    rows = _rows(plans)
    distance = np.full(len(plans), np.inf)
    for place in range(len(plans)):
        further = place if place < EXTREMES else int(distance.argmax())
        yield plans[further]
        distance = np.minimum(distance, _distance(rows, further))
        distance[further] = -1.0


def _rows(plans: list[PairPlan]) -> Floats:
    """Return both halves' features (n, 2f) on scales on which each differs by about as much."""
    halves = [halves_of(plan) for plan in plans]
    rows = np.hstack([np.log1p(half_features([pair[half] for pair in halves])) for half in ("little", "big")])
    spread = rows.std(axis=0)
    return np.asarray(rows / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def _distance(rows: Floats, index: int) -> Floats:
    return np.asarray(((rows - rows[index]) ** 2).sum(axis=1), dtype=np.float64)
