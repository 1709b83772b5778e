"""Whether a search can find anything: a figure that no board gives, a constraint that nothing comes near."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.records import Half
from nas_service.candidate import Candidate
from nas_service.front_query import FrontCandidate, HalfCost, curve_values
from nas_service.objective import Objective
from nas_service.pair_space import PairSpace
from nas_service.tune.thrift import Thrift

LACKING = 3  # measured candidates without a figure: none will have it
LOOKED_AT = 16  # candidates that meet no constraint before that is said, and again after four times as many
WIDE = 10.0  # a bound that the nearest of these exceeds so many times is not reached by searching on
ADVICE = "Raise the bound to at least that, or choose a space with cheaper pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """By how much a candidate misses the constraints, at the threshold where it comes nearest.

    Attributes:
        name: The constraint that it misses by the largest factor.
        bound: That constraint's.
        value: What it has, in the unit of the name.
        candidate_id: Which candidate.
    """

    name: str
    bound: float
    value: float
    candidate_id: str

    @property
    def factor(self) -> float:
        """The value over the bound."""
        return self.value / self.bound

    def __str__(self) -> str:
        return f"{self.name} must be at most {self.bound:g}, and the nearest has {self.value:.4g} ({self.candidate_id})"


def shortfall(candidate: FrontCandidate, constraints: Mapping[str, float]) -> Shortfall | None:
    """Return what a candidate misses at its best threshold; None if it meets all, or a figure is unknown."""
    values = curve_values(candidate)
    if not constraints or any(name not in values for name in constraints):
        return None
    names = list(constraints)
    factors = np.stack([values[name] / constraints[name] for name in names])
    at = int(factors.max(axis=0).argmin())
    worst = int(factors[:, at].argmax())
    name = names[worst]
    if factors[worst, at] <= 1:
        return None
    return Shortfall(name=name, bound=constraints[name], value=float(values[name][at]), candidate_id=candidate.id)


def nearest(candidates: Iterable[FrontCandidate], constraints: Mapping[str, float]) -> Shortfall | None:
    """Return the smallest shortfall of candidates of which none meets the constraints; None if nothing is known."""
    found = [s for c in candidates if (s := shortfall(c, constraints)) is not None]
    return min(found, key=lambda s: s.factor, default=None)


def unmet_text(
    candidates: Iterable[Candidate], constraints: Mapping[str, float], *, price: Callable[[], Iterable[FrontCandidate]]
) -> str | None:
    """Return that no candidate of a job met its constraints, and what came nearest; None if one did, or there are none.

    Args:
        candidates: All of the job.
        constraints: Upper bound by name.
        price: Gives the candidates as fronts need them; asked only if none met the constraints.
    """
    every = list(candidates)
    if not constraints or not every or any(candidate.values for candidate in every):
        return None
    found = nearest(price(), constraints)
    return "no candidate met the constraints" + ("" if found is None else f": {found}. {ADVICE}")


def least_cost(objective: Objective, halves: Mapping[Half, HalfCost]) -> float:
    """Return what an objective on boards is at the least, by the halves that are known: the little always runs."""
    quantity = objective.name.removeprefix("worst_")
    known = {half: getattr(cost, quantity) or 0.0 for half, cost in halves.items()}
    return float(known.get("little", 0.0) if objective.name in ("latency_ms", "energy_mj") else sum(known.values()))


def broken_bound(
    name: str, constraints: Mapping[Objective, float], boards: Mapping[str, Mapping[Half, HalfCost]]
) -> Shortfall | None:
    """Return the constraint on boards that halves of these costs miss by the largest factor at any threshold.

    Args:
        name: Whose halves they are, for the words.
        constraints: Upper bound by figure; those that are not on boards are left out.
        boards: Costs by half by board class, as far as they are known.
    """
    found = [
        Shortfall(name=str(objective), bound=bound, value=least, candidate_id=name)
        for objective, bound in constraints.items()
        if objective.board_class is not None
        and (least := least_cost(objective, boards.get(objective.board_class, {}))) > bound
    ]
    return max(found, key=lambda missed: missed.factor, default=None)


def foreseen_shortfall(thrift: Thrift, space: PairSpace, bounds: Mapping[Objective, float]) -> Shortfall | None:
    """Return what even the smallest pairs of a space are believed to miss; None if one may meet the bounds."""
    found = []
    for coupling in space.definition.couplings:
        least = thrift.least_of(space.plan(space.extreme(coupling, largest=False)))
        missed = broken_bound(f"the smallest {coupling} pair, at the least and as predicted", bounds, least)
        if missed is None:
            return None
        found.append(missed)
    return min(found, key=lambda missed: missed.factor)


class Prospects:
    """Follows the candidates that boards have measured, until one shows that there is something to find.

    Args:
        objectives: The job's.
        constraints: Upper bound by name.
        met: Whether a candidate is known already that meets the constraints.
    """

    def __init__(self, objectives: Sequence[str], constraints: Mapping[str, float], *, met: bool) -> None:
        self._constraints, self._needed = constraints, {*objectives, *constraints}
        self._lacking = set(self._needed)
        self._measured, self._misses, self._met = 0, 0, met
        self._nearest: Shortfall | None = None
        self._hopeless: str | None = None

    def had(self, candidate: FrontCandidate) -> str | None:
        """Take in a measured candidate, and return what the user should be told of the constraints now, if anything."""
        known = curve_values(candidate).keys()
        self._measured += 1
        self._lacking -= known
        missed = shortfall(candidate, self._constraints)
        if missed is not None:
            return self.missed(missed)
        self._met = self._met or self._needed <= known
        return None

    def missed(self, found: Shortfall) -> str | None:
        """Take in how far a candidate was from the constraints, and return what the user should be told now, if any."""
        self._misses += 1
        if self._nearest is None or found.factor < self._nearest.factor:
            self._nearest = found
        if self._met or not _is_milestone(self._misses):
            return None
        return f"none of {self._misses} candidates meets the constraints: {self._nearest}"

    def foreseen(self, found: Shortfall) -> str:
        """Take in what even the smallest pairs miss, and return what the user is told."""
        text = f"no pair is believed to meet the constraints: {found}. {ADVICE}"
        if found.factor > WIDE:
            self._hopeless = text
        return text

    @property
    def dead_end(self) -> str | None:
        """Why searching on would find nothing, and what to do; None as long as it may."""
        if self._measured >= LACKING and self._lacking:
            names = ", ".join(sorted(self._lacking))
            return (
                f"none of the {self._measured} candidates that boards have measured has {names}: no board of the class "
                "gives that figure. `nas-edge doctor` on a board says what is missing; or submit the job without it"
            )
        if self._hopeless is not None:
            return self._hopeless
        if self._met or self._nearest is None or self._misses < LOOKED_AT or self._nearest.factor <= WIDE:
            return None
        return f"none of {self._misses} candidates comes near the constraints: {self._nearest}. {ADVICE}"


def _is_milestone(count: int) -> bool:
    while count > LOOKED_AT and count % 4 == 0:
        count //= 4
    return count == LOOKED_AT
