"""What each candidate's evaluation is held against, so that one that cannot reach the front ends early."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_agent.records import Half
from nas_service.bar import Bar
from nas_service.candidate import Candidate
from nas_service.front import non_dominated
from nas_service.front_query import HalfCost
from nas_service.job import JobSpec


class Patience:
    """Keeps the points that a search has had, and makes bars of them.

    Args:
        spec: The job; without `evaluation.parts` no candidate gets a bar.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._front: list[list[float]] = []

    def had(self, candidate: Candidate) -> None:
        """Take in the points of a candidate that was told, unless they are estimates."""
        if not candidate.estimated:
            self._front += [[float(point[name]) for name in self._spec.objectives] for point in candidate.values]

    @property
    def front(self) -> list[list[float]]:
        """The points had that no other dominates, in the order of the objectives."""
        if self._front:
            self._front = np.asarray(self._front)[non_dominated(self._front)].tolist()
        return self._front

    def bar(self, candidate: Candidate, boards: Mapping[str, Mapping[Half, HalfCost]]) -> Bar | None:
        """Return what `candidate` must be able to reach; None if it is evaluated on every image in any case.

        Args:
            candidate: About to be evaluated.
            boards: What its halves cost, or at the least may cost, by board class.
        """
        parts = self._spec.evaluation.parts
        if not parts or not self._front:
            return None
        return Bar(
            parts=parts,
            doubt=self._spec.evaluation.doubt,
            objectives=self._spec.objectives,
            constraints=dict(self._spec.constraints),
            costs=candidate.costs,
            boards={c: {str(half): cost for half, cost in found.items()} for c, found in boards.items()},
            front=tuple(map(tuple, self.front)),
        )
