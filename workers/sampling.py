"""Which pairs a training step visits.

The sandwich rule (Yu and Huang, Universally Slimmable Networks, ICCV 2019) over pairs: the largest, which teaches, the
smallest, and random ones between. Couplings take turns, so each is the teacher's and the random pair's equally often.
"""

from __future__ import annotations

from typing import Protocol

import torch

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import Coupling, PairPlan

ATTEMPTS = 200


class PairSampler(Protocol):
    """Chooses the pairs of a step; the first of them is the teacher."""

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the pairs of step `step`, drawing from `generator` alone."""
        ...


class Sandwich:
    """The largest pair of one coupling, the smallest pair of the next, and `random_pairs` of all couplings in turn.

    Args:
        space: The space; its constraints hold for the random pairs only.
        random_pairs: Random pairs in a step, at least 0.
    """

    def __init__(self, space: PairSpace, *, random_pairs: int = 1) -> None:
        if random_pairs < 0:
            raise InvalidRequestError(f"random_pairs is {random_pairs} but must be at least 0")
        self._space = space
        self._random_pairs = random_pairs
        self._couplings = space.definition.couplings
        self.largest = {c: space.plan(space.extreme(c, largest=True)) for c in self._couplings}
        self.smallest = {c: space.plan(space.extreme(c, largest=False)) for c in self._couplings}

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the step's pairs, the largest first."""
        count = len(self._couplings)
        fixed = [self.largest[self._couplings[step % count]], self.smallest[self._couplings[(step + 1) % count]]]
        turns = range(step * self._random_pairs, (step + 1) * self._random_pairs)
        return fixed + [self._draw(self._couplings[turn % count], generator) for turn in turns]

    def _draw(self, coupling: Coupling, generator: torch.Generator) -> PairPlan:
        for _ in range(ATTEMPTS):
            point = {
                name: values[int(torch.randint(len(values), (), generator=generator))]
                for name, values in self._space.choices.items()
            }
            plan_point = self._space.fold({**point, "coupling": coupling})
            if self._space.is_feasible(plan_point):
                return self._space.plan(plan_point)
        return self.smallest[coupling]


class FixedPair:
    """One and the same pair in every step, for fine-tuning."""

    def __init__(self, plan: PairPlan) -> None:
        self._plan = plan

    def __call__(self, step: int, generator: torch.Generator) -> list[PairPlan]:
        """Return the pair."""
        return [self._plan]
