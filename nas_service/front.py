"""Fronts: which points of many candidates' curves are worth having, and how much they are worth together.

Everything is minimised. Points are float arrays of shape (n, d): n points, d objectives. A row with a NaN or
an infinity is unknown, not bad: it is never non-dominated, dominates nothing, and adds no volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_service.errors import InvalidRequestError

Floats: TypeAlias = NDArray[np.float64]
Threshold: TypeAlias = float | str | tuple[float, ...] | None

CURVE_LIMIT = 32


def as_points(points: ArrayLike) -> Floats:
    """The points as a float array of shape (n, d).

    Raises:
        InvalidRequestError: the array is not two-dimensional, or has no column.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidRequestError(f"points have shape {array.shape}; give (points, objectives) with an objective")
    return array


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mask (n,) of the points that no other point beats: no worse in every objective and better in one.

    Equal points are all kept. Rows that are not finite are never in the mask and beat nothing.
    """
    array = as_points(points)
    mask: NDArray[np.bool_] = np.asarray(np.isfinite(array).all(axis=1))
    if mask.any():
        finite = np.ascontiguousarray(array[mask])
        mask[mask] = moocore.is_nondominated(finite, keep_weakly=True)
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume that the points dominate up to the reference (d,); 0.0 for points that do not reach below it.

    Raises:
        InvalidRequestError: the reference has another number of objectives, or is not finite.
    """
    array = as_points(points)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (array.shape[1],) or not np.isfinite(corner).all():
        raise InvalidRequestError(
            f"reference {corner.tolist()} does not fit points with {array.shape[1]} objectives; give one finite "
            "number per objective"
        )
    inside = array[np.isfinite(array).all(axis=1) & (array < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    if array.shape[1] == 1:
        return float(corner[0] - inside.min())
    return float(moocore.hypervolume(np.ascontiguousarray(inside), ref=corner))


def bounds(points: ArrayLike) -> tuple[Floats, Floats]:
    """The ideal and the nadir (d,) of the non-dominated points: their best and worst figure per objective.

    Raises:
        InvalidRequestError: no point is finite.
    """
    array = as_points(points)
    best = array[non_dominated(array)]
    if not len(best):
        raise InvalidRequestError("no finite point was given, so there is no ideal and no nadir; give at least one")
    return best.min(axis=0), best.max(axis=0)


def adaptive_reference(points: ArrayLike) -> Floats:
    """A reference (d,) that follows what is known: the front's nadir plus a tenth of its span.

    Where the front has no span in an objective, all points' span stands in; where these have none either, the
    objective's size, or 1. So the front's own extremes always contribute something.
    """
    array = as_points(points)
    ideal, nadir = bounds(array)
    finite = array[np.isfinite(array).all(axis=1)]
    span = nadir - ideal
    span = np.where(span > 0, span, finite.max(axis=0) - finite.min(axis=0))
    span = np.where(span > 0, span, np.where(nadir != 0, np.abs(nadir), 1.0))
    return np.asarray(nadir + 0.1 * span, dtype=np.float64)


def normalised_hypervolume(points: ArrayLike, reference: ArrayLike, ideal: ArrayLike) -> float:
    """The hypervolume as a share (0 to 1) of the box between the ideal and the reference.

    Raises:
        InvalidRequestError: the ideal does not lie below the reference in every objective.
    """
    box = np.asarray(reference, dtype=np.float64) - np.asarray(ideal, dtype=np.float64)
    if not (box > 0).all():
        raise InvalidRequestError("the ideal must lie below the reference in every objective; choose a wider reference")
    clipped = np.maximum(as_points(points), np.asarray(ideal, dtype=np.float64))
    return hypervolume(clipped, reference) / float(np.prod(box))


def thin_curve(points: ArrayLike, limit: int = CURVE_LIMIT) -> NDArray[np.intp]:
    """Indexes (at most `limit`, ascending) of a curve's points that keep its shape.

    Dominated and repeated points go first. The best point of every objective stays as far as the limit
    allows; the others are chosen one by one, always the point farthest (in objectives scaled to the
    curve's span) from those already kept.

    Raises:
        InvalidRequestError: limit < 1.
    """
    if limit < 1:
        raise InvalidRequestError(f"limit is {limit} but must be >= 1")
    array = as_points(points)
    kept = np.flatnonzero(non_dominated(array))
    _, first = np.unique(array[kept], axis=0, return_index=True)
    kept = kept[np.sort(first)]
    if len(kept) <= limit:
        return kept
    best = array[kept]
    span = best.max(axis=0) - best.min(axis=0)
    scaled = (best - best.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys(int(i) for i in scaled.argmin(axis=0)))[:limit]
    distance = np.min([np.linalg.norm(scaled - scaled[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < limit:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return np.sort(kept[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One operating point of a candidate: its objectives, in order, and the threshold that gives them."""

    candidate_id: str
    values: tuple[float, ...]
    threshold: Threshold = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The non-dominated points of many candidates' curves, by the first objective, each with its owner."""

    objectives: tuple[str, ...]
    points: tuple[CurvePoint, ...] = ()

    def __post_init__(self) -> None:
        for point in self.points:
            if len(point.values) != len(self.objectives):
                raise InvalidRequestError(
                    f"a point of candidate {point.candidate_id!r} has {len(point.values)} values; the front has the "
                    f"objectives {self.objectives}"
                )

    @classmethod
    def of(cls, points: Iterable[CurvePoint], *, objectives: Sequence[str]) -> Front:
        """The front of all these points; of equal ones the first given stays."""
        every = cls(objectives=tuple(objectives), points=tuple(points)).points
        if not every:
            return cls(objectives=tuple(objectives))
        mask = non_dominated([p.values for p in every])
        unique: dict[tuple[float, ...], CurvePoint] = {}
        for point, keep in zip(every, mask, strict=True):
            if keep:
                unique.setdefault(point.values, point)
        return cls(objectives=tuple(objectives), points=tuple(sorted(unique.values(), key=lambda p: p.values)))

    @property
    def candidate_ids(self) -> tuple[str, ...]:
        """The candidates that own a point, each once, in the front's order."""
        return tuple(dict.fromkeys(p.candidate_id for p in self.points))

    def values(self) -> Floats:
        """The points as an array (n, d)."""
        return np.array([p.values for p in self.points], dtype=np.float64).reshape(-1, len(self.objectives))

    def hypervolume(self, reference: ArrayLike) -> float:
        """The volume that the front dominates up to the reference (d,)."""
        return hypervolume(self.values(), reference)
