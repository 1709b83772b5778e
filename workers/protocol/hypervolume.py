"""Hypervolume of a whole threshold sweep, and the paired bootstrap of its difference between two systems.

Zitzler and Thiele, IEEE Transactions on Evolutionary Computation 3(4), 1999; computed by moocore. Objectives are the
expected cost and the error on test; all thresholds were frozen on calibration, so nothing is selected on test. The
reference and the box are the same for both systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.front import hypervolume
from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.outcomes import Floats, Outcomes, PathCosts
from workers.protocol.record import Record
from workers.protocol.sweep import AppliedSweep, FrozenSweep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweptSystem:
    """One system's frozen sweep, its test outcomes and its costs."""

    sweep: FrozenSweep
    test: Outcomes
    costs: PathCosts

    def points(self) -> Floats:
        """Return (K, 2) cost and error on all test images."""
        return self.sweep.apply(self.test, costs=self.costs).points

    def resampled_points(self, resamples: Resamples) -> Floats:
        """Return (B, K, 2) cost and error on each resample; the realised rate varies with the images too."""
        escalated, correct = self.sweep.routes(self.test)
        cost = self.costs.expected_all(resamples.means(escalated))
        return np.stack([cost.T, 1 - resamples.means(correct).T], axis=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeDifference(Record):
    """Hypervolumes as shares of the box from (0, 0) to the reference (cost, error), first less second.

    `share_better` is the share of resamples in which the first system has more.
    """

    reference: tuple[float, float]
    first: float
    second: float
    difference: Interval
    share_better: float


def common_reference(systems: Sequence[AppliedSweep]) -> tuple[float, float]:
    """Return the largest cost and the largest error of any point of any system, a hundredth further out.

    Raises:
        InvalidRequestError: no system.
    """
    if not systems:
        raise InvalidRequestError("a reference for no system; give at least one applied sweep")
    cost, error = np.concatenate([system.points for system in systems]).max(axis=0)
    return 1.01 * float(cost), 1.01 * max(float(error), 1e-9)


def sweep_hypervolume(points: Floats, reference: tuple[float, float]) -> float:
    """Return the hypervolume of points (K, 2) as a share of the box from (0, 0) to the reference."""
    return hypervolume(points, reference) / (reference[0] * reference[1])


def hypervolume_difference(
    first: SweptSystem, second: SweptSystem, *, reference: tuple[float, float], resamples: Resamples
) -> HypervolumeDifference:
    """Return how much more hypervolume the first system has, on the same resampled images.

    Raises:
        InvalidRequestError: the systems were not scored on the resamples' images.
    """
    whole = [sweep_hypervolume(system.points(), reference) for system in (first, second)]
    ours, theirs = (
        np.array([sweep_hypervolume(points, reference) for points in system.resampled_points(resamples)])
        for system in (first, second)
    )
    return HypervolumeDifference(
        reference=reference,
        first=whole[0],
        second=whole[1],
        difference=Interval.of(whole[0] - whole[1], ours - theirs),
        share_better=float((ours > theirs).mean()),
    )
