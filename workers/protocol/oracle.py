"""What the best and the worst router could do with the same two nets: p01, p10, the oracle's curve, regret.

EVALUATION protocol, section 2.5. `p01 = P(little wrong, big right)`, `p10 = P(little right, big wrong)`, so
`aB - aL = p01 - p10`. An oracle that must escalate a share rho gains one input for each up to p01, nothing while
rho <= 1 - p10, and then loses one for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.protocol.outcomes import Floats, Mask, Outcomes
from workers.protocol.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle(Record):
    """The oracle of one pair: the little's accuracy and the two disagreement rates, all in [0, 1]."""

    little_accuracy: float
    p01: float
    p10: float

    @classmethod
    def of(cls, outcomes: Outcomes) -> Oracle:
        """Return the oracle of a pair's outcomes."""
        gain = outcomes.gain
        return cls(little_accuracy=outcomes.little_accuracy, p01=float((gain > 0).mean()), p10=float((gain < 0).mean()))

    @property
    def big_accuracy(self) -> float:
        """Share that is right when everything is escalated."""
        return self.little_accuracy + self.p01 - self.p10

    @property
    def best_accuracy(self) -> float:
        """The highest accuracy that any routing reaches."""
        return self.little_accuracy + self.p01

    def accuracy(self, rate: Floats | float) -> Floats:
        """Return the highest accuracy with exactly this share escalated, of the shape of `rate`."""
        shares = np.asarray(rate, dtype=np.float64)
        return np.asarray(self.little_accuracy + np.minimum(shares, self.p01) - np.maximum(shares - 1 + self.p10, 0))

    def random_accuracy(self, rate: Floats | float) -> Floats:
        """Return the accuracy when this share is escalated at random: the straight line from little to big."""
        return np.asarray(self.little_accuracy + np.asarray(rate, dtype=np.float64) * (self.p01 - self.p10))

    def regret(self, rate: Floats | float, accuracy: Floats | float) -> Floats:
        """Return how far `accuracy` at `rate` lies below the oracle; at least 0 for any router of the same outputs."""
        return np.asarray(self.accuracy(rate) - accuracy)


def oracle_scores(little_correct: Mask, escalated_correct: Mask) -> Floats:
    """Return (N,) the scores of the oracle router, for evaluation only: what gains is escalated first."""
    return little_correct.astype(np.float64) - escalated_correct


def random_scores(n: int, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (N,) the scores of the random router, for evaluation only."""
    return rng.random(n)
