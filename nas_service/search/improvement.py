"""How much hypervolume candidates whose outcome is uncertain may be expected to add to a front.

Emmerich, Giannakoglou, Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random field
metamodels", IEEE TEC 10(4), 2006; by sampling rather than in closed form, because outcomes are curves, and are normal
on a scale of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_service.front import Floats, hypervolume, non_dominated


def improvements(curves: Floats, front: Floats, reference: Floats) -> Floats:
    """For each of the curves (n, k, d), the hypervolume (n,) that its k points together would add to a front (m, d)."""
    if curves.shape[2] == 1:
        best = min(float(front.min()), float(reference[0])) if len(front) else float(reference[0])
        return np.asarray(np.maximum(0.0, best - curves.min(axis=(1, 2))), dtype=np.float64)
    if curves.shape[2] == 2:
        return _areas(curves, front, reference)
    whole = hypervolume(front, reference) if len(front) else 0.0
    gains = np.zeros(len(curves))
    for index in np.flatnonzero(_may_add(curves, front, reference)):
        gains[index] = hypervolume(np.vstack([front, curves[index]]), reference) - whole
    return gains


def _may_add(curves: Floats, front: Floats, reference: Floats) -> NDArray[np.bool_]:
    """Mask (n,) of the curves with a point below the reference that no point of the front covers: others add nothing.

    Most of a space is not among them, and a comparison takes a small part of the time of a volume.
    """
    points = curves.reshape(-1, curves.shape[2])
    left = np.flatnonzero((points < reference).all(axis=1))
    for covering in front:
        left = left[(points[left] < covering).any(axis=1)]
    may: NDArray[np.bool_] = np.zeros(len(curves), dtype=np.bool_)
    may[left // curves.shape[1]] = True
    return may


def _areas(curves: Floats, front: Floats, reference: Floats) -> Floats:
    """The same in two dimensions: below the front's staircase and above the curve's, step by step."""
    inside = front[(front < reference).all(axis=1)]
    steps = np.unique(inside[non_dominated(inside)], axis=0) if len(inside) else inside
    left = np.concatenate([[-np.inf], steps[:, 0]])
    right = np.concatenate([steps[:, 0], [reference[0]]])
    height = np.concatenate([[reference[1]], steps[:, 1]])
    order = np.argsort(curves[:, :, 0], axis=1)
    start = np.take_along_axis(curves[:, :, 0], order, axis=1)
    low = np.minimum.accumulate(np.take_along_axis(curves[:, :, 1], order, axis=1), axis=1)
    stop = np.concatenate([start[:, 1:], np.full((len(curves), 1), np.inf)], axis=1)
    total = np.zeros(len(curves))
    for k in range(curves.shape[1]):
        width = np.minimum(right, stop[:, k, None]) - np.maximum(left, start[:, k, None])
        depth = height - low[:, k, None]
        total += (np.maximum(width, 0.0) * np.maximum(depth, 0.0)).sum(axis=1)
    return total


def normal_draws(count: int, objectives: int, rng: np.random.Generator) -> Floats:
    """Standard normal draws (count, objectives), stratified in every column."""
    from scipy.special import ndtri

    ranks = np.stack([rng.permutation(count) for _ in range(objectives)], axis=1)
    return np.asarray(ndtri((ranks + 0.5) / count), dtype=np.float64)
