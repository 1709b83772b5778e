"""What a routed system answers on one split at fixed thresholds, whether it has two exits or more."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats, Mask, Outcomes, PathCosts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Where inputs leave.

    Attributes:
        correct: (E, N) whether each exit is right: of a pair, the little and the escalated prediction.
        taken: (N,) the exit at which each input leaves; 0 is not escalated.
        costs: (E,) cumulative cost of leaving at each exit, in one unit.
    """

    correct: Mask = field(repr=False)
    taken: NDArray[np.integer] = field(repr=False)
    costs: Floats

    def __post_init__(self) -> None:
        exits, n = self.correct.shape
        if len(self.costs) != exits or self.taken.shape != (n,) or not ((0 <= self.taken) & (self.taken < exits)).all():
            raise InvalidRequestError(
                f"correctness {self.correct.shape}, {len(self.costs)} costs and exits {self.taken.shape}; give (E, N), "
                "(E,) and (N,) below E"
            )

    @classmethod
    def of_pair(cls, outcomes: Outcomes, threshold: float, *, costs: PathCosts) -> Answers:
        """Return the answers of a pair at a threshold."""
        return cls(
            correct=np.stack([outcomes.little_correct, outcomes.escalated_correct]),
            taken=outcomes.escalates(threshold).astype(np.int64),
            costs=np.array([costs.least, costs.worst]),
        )

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.taken)

    @property
    def right(self) -> Mask:
        """(N,) whether the answer is right."""
        return np.asarray(np.take_along_axis(self.correct, self.taken[None], axis=0)[0])

    @property
    def escalated(self) -> Mask:
        """(N,) whether an input goes beyond the first exit."""
        return np.asarray(self.taken > 0)

    @property
    def cost(self) -> Floats:
        """(N,) what each answer costs."""
        return np.asarray(self.costs[self.taken])
