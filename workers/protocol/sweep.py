"""The primary curve: thresholds frozen at calibration quantiles, applied to test.

EVALUATION protocol, section 2.1; budgeted batch as in Huang et al., Multi-Scale Dense Networks, ICLR 2018:
thresholds come from held-out data for target rates and are used unchanged on test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats, Mask, Outcomes, PathCosts
from workers.protocol.record import Record

POINTS = 101


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrozenSweep(Record):
    """Thresholds for evenly spaced target rates.

    Attributes:
        target_rate: (K,) k / (K - 1).
        thresholds: (K,) not descending, from -inf (never) to +inf (always).
        calibration_rate: (K,) the share that they escalate on calibration; it differs from the target where scores tie.
    """

    target_rate: Floats = field(repr=False)
    thresholds: Floats = field(repr=False)
    calibration_rate: Floats = field(repr=False)

    @classmethod
    def freeze(cls, scores: NDArray[np.floating], *, points: int = POINTS) -> FrozenSweep:
        """Return the thresholds at the quantiles of calibration scores (N,).

        A threshold lies half-way between the neighbours of its quantile, as `Curve`'s do.

        Raises:
            InvalidRequestError: fewer than two points, or no scores.
        """
        if points < 2 or scores.ndim != 1 or not len(scores):
            raise InvalidRequestError(f"{points} points over scores {scores.shape}; give >= 2 points and (N,), N >= 1")
        ascending = np.sort(scores.astype(np.float64))
        target = np.linspace(0, 1, points)
        count = np.rint(target[1:-1] * len(scores)).astype(np.int64)
        padded = np.concatenate([[-np.inf], ascending, [np.inf]])
        thresholds = np.concatenate([[-np.inf], (padded[count] + padded[count + 1]) / 2, [np.inf]])
        rate = np.searchsorted(ascending, thresholds, side="left") / len(scores)
        return cls(target_rate=target, thresholds=thresholds, calibration_rate=rate)

    def routes(self, outcomes: Outcomes) -> tuple[Mask, Mask]:
        """Return (K, N) which inputs each threshold escalates, and (K, N) whether the routed prediction is right."""
        escalated = outcomes.scores.astype(np.float64) < self.thresholds[:, None]
        return escalated, np.where(escalated, outcomes.escalated_correct, outcomes.little_correct)

    def apply(self, outcomes: Outcomes, *, costs: PathCosts) -> AppliedSweep:
        """Return what the frozen thresholds do on another split."""
        escalated, correct = self.routes(outcomes)
        rate = escalated.mean(axis=1)
        return AppliedSweep(
            thresholds=self.thresholds,
            target_rate=self.target_rate,
            rate=rate,
            accuracy=correct.mean(axis=1),
            cost=costs.expected_all(rate),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AppliedSweep(Record):
    """Frozen thresholds on one split: (K,) realised escalation rates, accuracies in [0, 1] and expected costs."""

    thresholds: Floats = field(repr=False)
    target_rate: Floats = field(repr=False)
    rate: Floats = field(repr=False)
    accuracy: Floats = field(repr=False)
    cost: Floats = field(repr=False)

    @property
    def transfer_gap(self) -> Floats:
        """(K,) realised less target rate."""
        return self.rate - self.target_rate

    @property
    def worst_transfer_gap(self) -> float:
        """The largest absolute transfer gap."""
        return float(np.abs(self.transfer_gap).max())

    @property
    def points(self) -> Floats:
        """(K, 2) cost and error, both to be minimised."""
        return np.column_stack([self.cost, 1 - self.accuracy])
