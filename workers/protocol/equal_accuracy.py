"""How much cheaper one system is than another at equal accuracy, averaged over the accuracies that both reach.

After Bjøntegaard, ITU-T VCEG-M33, 2001: the mean over a common quality range of the log-ratio of costs. Departure: the
points' upper concave envelopes are joined by straight lines (between two thresholds one may toss a coin) and no
polynomial is fitted, so that no point is extrapolated.
"""

from __future__ import annotations

import numpy as np

from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.hypervolume import SweptSystem
from workers.protocol.outcomes import Floats

GRID = 101


def cost_difference(first: Floats, second: Floats) -> float | None:
    """Return the mean relative cost of the first system against the second, less 1: -0.12 is 12 % cheaper.

    Args:
        first: (K, 2) cost > 0 and error.
        second: (L, 2).

    Returns:
        None if there is no range of accuracies that both reach between their cheapest and their most accurate points.
    """
    ours, theirs = _frontier(first), _frontier(second)
    low, high = max(ours[0, 1], theirs[0, 1]), min(ours[-1, 1], theirs[-1, 1])
    if not low < high:
        return None
    accuracy = np.linspace(low, high, GRID)
    logs = [np.log(np.interp(accuracy, frontier[:, 1], frontier[:, 0])) for frontier in (ours, theirs)]
    return float(np.exp((logs[0] - logs[1]).mean()) - 1)


def cost_difference_interval(first: SweptSystem, second: SweptSystem, *, resamples: Resamples) -> Interval | None:
    """Return `cost_difference` with its paired bootstrap interval; resamples without a common range are left out.

    Raises:
        InvalidRequestError: the systems were not scored on the resamples' images.
    """
    estimate = cost_difference(first.points(), second.points())
    if estimate is None:
        return None
    pairs = zip(first.resampled_points(resamples), second.resampled_points(resamples), strict=True)
    found = [cost_difference(ours, theirs) for ours, theirs in pairs]
    return Interval.of(estimate, np.array([value for value in found if value is not None]))


def _frontier(points: Floats) -> Floats:
    """Return (M, 2) cost and accuracy of the upper concave envelope, both rising."""
    vertices: list[tuple[float, float]] = []
    for cost, error in points[np.lexsort((points[:, 1], points[:, 0]))]:
        accuracy = 1 - error
        if vertices and accuracy <= vertices[-1][1]:
            continue
        while len(vertices) > 1 and _bends_up(vertices[-2], vertices[-1], (cost, accuracy)):
            vertices.pop()
        vertices.append((float(cost), float(accuracy)))
    return np.array(vertices)


def _bends_up(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Return whether `middle` lies on or below the line between its neighbours."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])
