"""Whether a candidate can come to the front: what is decided before boards spend time on it, as pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nas_service.errors import InvalidRequestError
from nas_service.front import as_points, bounds, non_dominated

LEAST_GAIN = 0.01


def can_touch(optimistic: ArrayLike, front: ArrayLike, *, gain: float = LEAST_GAIN) -> bool:
    """Return whether a curve at its luckiest would have a point worth having, beside the points already had.

    What is beaten stays beaten, since a front only gets better: with a gain of 0, what cannot touch it now never will,
    and everything may that some front point does not equal or beat. A gain above 0 is a trade: what it leaves out is
    better than a point already had by less than that share of the front's span as it is now, in every objective
    (additive epsilon-dominance, Laumanns et al., 2002).

    Args:
        optimistic: The curve's points (n, d), each as good as it may turn out; all objectives are minimised.
        front: Known points (m, d); none are needed.
        gain: By what share of the front's span, in [0, 1), a point must beat each known one in some objective.

    Raises:
        InvalidRequestError: `gain` is out of range, or the numbers of objectives differ.
    """
    if not 0 <= gain < 1:
        raise InvalidRequestError(f"gain is {gain} but must be at least 0 and below 1")
    points = as_points(optimistic)
    best = np.asarray(front, dtype=np.float64).reshape(-1, points.shape[1])
    best = best[non_dominated(best)] if len(best) else best
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return False
    if not len(best):
        return True
    ideal, nadir = bounds(best)
    margin = gain * (nadir - ideal)
    no_worse = np.all(best[None] <= points[:, None] + margin, axis=2)
    return not bool(np.all(np.any(no_worse, axis=1)))
