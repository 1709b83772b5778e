"""Which pairs a training step visits.

The sandwich rule (Yu and Huang, Universally Slimmable Networks, ICCV 2019) over pairs: the largest, which teaches, the
smallest, and random ones between. Couplings take turns, so each is the teacher's and the random pair's equally often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from nas_service.choice_space import Point, Value
from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import Coupling, PairPlan

ATTEMPTS = 200


class PairSampler(Protocol):
    """Chooses the pairs of a step; the first of them is the teacher."""

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the pairs of step `step`, drawing from `generator` alone."""
        ...


class PointSource(Protocol):
    """Draws the random pairs of a step."""

    def __call__(self, coupling: Coupling, generator: torch.Generator) -> Point:
        """Return a raw point of the space; the coupling is set to `coupling` afterwards."""
        ...


class Sandwich:
    """The largest pair of one coupling, the smallest pair of the next, and `random_pairs` of all couplings in turn.

    Args:
        space: The space; its constraints hold for the random pairs only.
        random_pairs: Random pairs in a step, at least 0.
        smallest_pairs: Whether a step has a smallest pair.
        source: What draws the random pairs; None for uniform draws from the choices that `limit` left.
    """

    def __init__(
        self, space: PairSpace, *, random_pairs: int = 1, smallest_pairs: bool = True, source: PointSource | None = None
    ) -> None:
        if random_pairs < 0:
            raise InvalidRequestError(f"random_pairs is {random_pairs} but must be at least 0")
        self._space = space
        self._random_pairs, self._smallest_pairs = random_pairs, smallest_pairs
        self._source = source or self._uniform
        self._couplings = space.definition.couplings
        self.largest = {c: space.plan(space.extreme(c, largest=True)) for c in self._couplings}
        self.limit(space.choices)

    def limit(self, choices: Mapping[str, Sequence[Value]]) -> None:
        """Draw from these choices alone from now on, and take the smallest pair from them; the largest stays."""
        self._choices = dict(choices)
        first = {name: values[0] for name, values in choices.items()}
        self.smallest = {c: self._space.plan({**first, "coupling": c}) for c in self._couplings}

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the step's pairs, the largest first."""
        count = len(self._couplings)
        fixed = [self.largest[self._couplings[step % count]]]
        if self._smallest_pairs:
            fixed.append(self.smallest[self._couplings[(step + 1) % count]])
        turns = range(step * self._random_pairs, (step + 1) * self._random_pairs)
        return fixed + [self._draw(self._couplings[turn % count], generator) for turn in turns]

    def _draw(self, coupling: Coupling, generator: torch.Generator) -> PairPlan:
        for _ in range(ATTEMPTS):
            plan_point = self._space.fold({**self._source(coupling, generator), "coupling": coupling})
            if self._space.is_feasible(plan_point):
                return self._space.plan(plan_point)
        return self.smallest[coupling]

    def _uniform(self, coupling: Coupling, generator: torch.Generator) -> Point:
        return {
            name: values[int(torch.randint(len(values), (), generator=generator))]
            for name, values in self._choices.items()
        }


class FixedPair:
    """One and the same pair in every step, for fine-tuning."""

    def __init__(self, plan: PairPlan) -> None:
        self._plan = plan

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the pair."""
        return [self._plan]
