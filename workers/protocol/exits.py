"""Nets with several exits: budgeted batch classification with thresholds frozen on calibration.

Huang et al., Multi-Scale Dense Networks, ICLR 2018, and the authors' code: exit e gets a share of the
inputs proportional to `p^e`, for p = 1/20 ... 39/20; on held-out data, each exit in turn takes the surest of those that
are left, and the least sure it took sets its threshold. An input leaves at the first exit where `score >= threshold`,
so it goes on when `score < threshold`, as everywhere here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats, Mask
from workers.protocol.record import Record

RATIOS = tuple(k / 20 for k in range(1, 40))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitOutcomes:
    """Of one split, for E exits in order: (E, N) finite scores, higher is surer, and (E, N) whether each is right."""

    scores: NDArray[np.floating] = field(repr=False)
    correct: Mask = field(repr=False)

    def __post_init__(self) -> None:
        shape = self.scores.shape
        if self.correct.shape != shape or len(shape) != 2 or shape[0] < 2 or not shape[1]:
            raise InvalidRequestError(
                f"scores {shape} and correctness {self.correct.shape}; give (E, N) twice, at least two exits, N >= 1"
            )
        if bad := int((~np.isfinite(self.scores)).any(axis=0).sum()):
            raise InvalidRequestError(f"scores of {bad} of {shape[1]} inputs are not finite; mend the router")

    def anytime(self) -> Floats:
        """Return (E,) the accuracy when every input is stopped at that exit."""
        return np.asarray(self.correct.mean(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitSweep(Record):
    """Frozen thresholds: (P, E), one row for each ratio; the last exit's is -inf, since it takes what is left."""

    ratios: tuple[float, ...]
    thresholds: Floats = field(repr=False)

    @classmethod
    def freeze(cls, calibration: ExitOutcomes, *, ratios: tuple[float, ...] = RATIOS) -> ExitSweep:
        """Return the thresholds of every ratio > 0 from calibration scores."""
        if not ratios or min(ratios) <= 0:
            raise InvalidRequestError(f"ratios {ratios}; give at least one, all above 0")
        return cls(ratios=ratios, thresholds=np.stack([_thresholds(calibration.scores, ratio) for ratio in ratios]))

    def exits(self, outcomes: ExitOutcomes) -> NDArray[np.int64]:
        """Return (P, N) the exit at which each input leaves."""
        leaves = outcomes.scores.astype(np.float64) >= self.thresholds[:, :, None]
        return np.asarray(leaves.argmax(axis=1), dtype=np.int64)

    def apply(self, outcomes: ExitOutcomes, *, costs: Floats) -> AppliedExits:
        """Return what the frozen thresholds do on another split, with (E,) cumulative costs of stopping at an exit.

        Raises:
            InvalidRequestError: costs of another number of exits, or that do not rise.
        """
        exits = len(outcomes.scores)
        if len(costs) != exits or not (np.diff(costs) > 0).all():
            raise InvalidRequestError(f"costs {list(costs)} for {exits} exits; give one for each, rising")
        taken = self.exits(outcomes)
        shares = np.stack([(taken == index).mean(axis=1) for index in range(exits)], axis=1)
        right = np.take_along_axis(outcomes.correct, taken, axis=0)
        return AppliedExits(shares=shares, accuracy=right.mean(axis=1), cost=shares @ np.asarray(costs))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AppliedExits(Record):
    """Of each ratio on one split: (P, E) shares by exit, (P,) accuracy in [0, 1], (P,) expected cost."""

    shares: Floats = field(repr=False)
    accuracy: Floats = field(repr=False)
    cost: Floats = field(repr=False)

    @property
    def points(self) -> Floats:
        """(P, 2) cost and error, both to be minimised."""
        return np.column_stack([self.cost, 1 - self.accuracy])


def _thresholds(scores: NDArray[np.floating], ratio: float) -> Floats:
    exits, n = scores.shape
    shares = ratio ** np.arange(1, exits + 1)
    shares /= shares.sum()
    found = np.full(exits, -np.inf)
    left = np.arange(n)
    for index in range(exits - 1):
        wanted = min(int(np.floor(n * shares[index])), len(left))
        ascending = np.sort(scores[index, left].astype(np.float64))
        found[index] = ascending[-wanted] if wanted else np.inf
        left = left[scores[index, left] < found[index]]
    return found
