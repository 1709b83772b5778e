"""Ranking candidates by their curves.

All points of all candidates are sorted into layers (Deb et al. 2002, non-dominated sorting); a candidate stands in the
layer of its best point. Within a layer it is worth the hypervolume that is lost from the layer without its points
(Beume et al. 2007, SMS-EMOA), up to the layer's adaptive reference.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np

from nas_service.front import Floats, adaptive_reference, hypervolume, non_dominated

Owners = np.ndarray[Any, np.dtype[np.intp]]


def best_candidates(points: Floats, owners: Owners, *, limit: int) -> list[tuple[int, float, int]]:
    """The best candidates as (layer, -exclusive hypervolume, candidate), best first, at most `limit`.

    Args:
        points: (n, d) finite points of all candidates, minimised.
        owners: (n,) the candidate of each point, 0 to candidates - 1, each with at least one point.
        limit: how many to return.
    """
    left = np.arange(len(points))
    ranked: list[tuple[int, float, int]] = []
    seen: set[int] = set()
    layer = 0
    while len(left) and len(ranked) < limit:
        mask = non_dominated(points[left])
        members = left[mask]
        worth = exclusive_hypervolumes(points[members], owners[members])
        fresh = {c: v for c, v in worth.items() if c not in seen}
        ranked += sorted((layer, -volume, candidate) for candidate, volume in fresh.items())
        seen |= fresh.keys()
        left = left[~mask]
        layer += 1
    return ranked[:limit]


def exclusive_hypervolumes(points: Floats, owners: Owners) -> dict[int, float]:
    """Candidate -> the hypervolume that a layer (n, d) loses without the candidate's points."""
    reference = adaptive_reference(points)
    if points.shape[1] > 1 and len(np.unique(owners)) == len(owners):
        volumes = moocore.hv_contributions(np.ascontiguousarray(points), ref=reference)
        return {int(c): float(v) for c, v in zip(owners, volumes, strict=True)}
    whole = hypervolume(points, reference)
    return {int(c): whole - hypervolume(points[owners != c], reference) for c in np.unique(owners)}
