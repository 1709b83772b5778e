"""What an evaluation gave: a curve of operating points, or a failure. Read from what is told, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.front import CURVE_LIMIT, Threshold, non_dominated

THRESHOLD_WORDS = ("never", "always")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One candidate's result.

    Attributes:
        points: the non-dominated operating points, objectives in the searcher's order; empty if it failed.
        thresholds: the threshold of each point, None where none was told.
    """

    points: tuple[tuple[float, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = ()

    def __post_init__(self) -> None:
        if len(self.points) != len(self.thresholds):
            raise InvalidRequestError(
                f"{len(self.points)} points but {len(self.thresholds)} thresholds; give one per point, None if unknown"
            )

    @property
    def failed(self) -> bool:
        """Whether nothing usable came back."""
        return not self.points

    def to_json(self) -> list[list[Any]] | None:
        """The outcome as [[point, threshold], ...], None if failed; `from_json` is the exact inverse."""
        if self.failed:
            return None
        return [[list(p), list(t) if isinstance(t, tuple) else t] for p, t in zip(*self._columns, strict=True)]

    @classmethod
    def from_json(cls, rows: list[list[Any]] | None) -> Outcome:
        """The outcome that `to_json` gave."""
        return cls(
            points=tuple(tuple(float(v) for v in point) for point, _ in rows or ()),
            thresholds=tuple(tuple(t) if isinstance(t, list) else t for _, t in rows or ()),
        )

    @property
    def _columns(self) -> tuple[tuple[tuple[float, ...], ...], tuple[Threshold, ...]]:
        return self.points, self.thresholds


def read_outcome(told: Any, *, objectives: Sequence[str]) -> Outcome:
    """The outcome that a told value means.

    Points with a NaN or an infinity are dropped, as are points that others of the same curve dominate; a value
    that leaves no point is a failure, as None is. Entries that are not objectives are ignored.

    Args:
        told: None, one mapping with every objective, or a sequence of 1 to 32 of them; each with an optional
            `threshold`: a number, one number per class, `never` or `always`.
        objectives: the names to read, in order.

    Raises:
        InvalidRequestError: an objective is missing or is no number, a threshold has another form, or a curve
            is empty or longer than 32.
    """
    if told is None:
        return Outcome()
    rows = [told] if isinstance(told, Mapping) else _rows(told)
    points = [tuple(_figure(row, name) for name in objectives) for row in rows]
    thresholds = [_threshold(row.get("threshold")) for row in rows]
    mask = non_dominated(np.array(points, dtype=np.float64))
    kept = {p: t for p, t, keep in reversed(list(zip(points, thresholds, mask, strict=True))) if keep}
    ordered = sorted(kept)
    return Outcome(points=tuple(ordered), thresholds=tuple(kept[p] for p in ordered))


def _rows(told: Any) -> list[Mapping[str, Any]]:
    if not isinstance(told, Sequence) or isinstance(told, str) or not all(isinstance(row, Mapping) for row in told):
        raise InvalidRequestError(
            f"a result is {told!r}; give a mapping of objectives, a list of such mappings, or None if it failed"
        )
    if not 1 <= len(told) <= CURVE_LIMIT:
        raise InvalidRequestError(
            f"a curve has {len(told)} points but must have 1 to {CURVE_LIMIT}; "
            "thin it with nas_service.front.thin_curve, or tell None if the candidate failed"
        )
    return list(told)


def _figure(row: Mapping[str, Any], name: str) -> float:
    if name not in row:
        raise InvalidRequestError(
            f"a result lacks objective {name!r}; it has {sorted(map(str, row))}: tell every objective, or None if the "
            "candidate failed"
        )
    value = row[name]
    if isinstance(value, bool | str | bytes) or value is None:
        raise InvalidRequestError(
            f"objective {name!r} is {value!r}; give a number (NaN and infinities count as failed)"
        )
    try:
        return float(value) + 0.0  # adding zero turns -0.0 into 0.0, so that equal points are equal as text too
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"objective {name!r} is {value!r}; give a number") from error


def _threshold(value: Any) -> Threshold:
    if value is None or (isinstance(value, str) and value in THRESHOLD_WORDS):
        return value
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, int | float) and not isinstance(plain, bool) and math.isfinite(plain):
        return float(plain)
    if (
        isinstance(plain, list | tuple)
        and plain
        and all(isinstance(v, int | float) and math.isfinite(v) for v in plain)
    ):
        return tuple(float(v) for v in plain)
    raise InvalidRequestError(f"threshold is {value!r}; give a finite number, one per class, 'never' or 'always'")
