"""What a point or a curve adds to a front, for methods that take a single number or vector of each candidate."""

from __future__ import annotations

import numpy as np

from nas_service.front import Floats, adaptive_reference, hypervolume, non_dominated


def gains(points: Floats, front: Floats, reference: Floats) -> Floats:
    """For each of the points (n, d), the hypervolume that it alone would add to the front (m, d)."""
    whole = hypervolume(front, reference)
    return np.array([hypervolume(np.vstack([front, p[None]]), reference) - whole for p in points])


def representative(curve: Floats, others: Floats) -> Floats:
    """The one point (d,) that stands for a curve (n, d) where a method takes a single vector.

    It is the point that adds most hypervolume to the others' front (m, d); if none adds any, the one whose worst
    objective, scaled to the front's box, is least.
    """
    if len(curve) == 1:
        return np.asarray(curve[0])
    front = others[non_dominated(others)] if len(others) else others
    reference = adaptive_reference(np.vstack([front, curve]))
    gained = gains(curve, front, reference)
    if gained.max() > 0:
        return np.asarray(curve[int(gained.argmax())])
    ideal = front.min(axis=0)
    return np.asarray(curve[int(((curve - ideal) / (reference - ideal)).max(axis=1).argmin())])
