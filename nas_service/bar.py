"""The bar that a candidate must be able to reach while its accuracy is still being measured, as a value that travels.

Accuracy is counted on a growing part of the validation images, as in successive halving (Li et al., ASHA, MLSys 2020).
What decides is not a rank but the front: a candidate goes on for as long as its curve, with the luck that so few images
allow, has a point worth having beside the points already had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nas_service.curve import Curve, Floats
from nas_service.errors import InvalidRequestError
from nas_service.front_query import FrontCandidate, HalfCost, curve_values
from nas_service.promise import can_touch
from nas_service.valuation import told_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a candidate under evaluation is held against.

    Attributes:
        parts: Shares of the images after which to look, ascending, in (0, 1).
        doubt: How many standard errors of luck a curve is allowed, above 0.
        objectives: The job's.
        constraints: Upper bound by objective.
        costs: What the layers tell of the candidate, as `Candidate.costs`.
        boards: What its halves cost, or at the least may cost, by half by board class.
        front: Points already had, in the order of `objectives`.
    """

    parts: tuple[float, ...]
    doubt: float
    objectives: tuple[str, ...]
    constraints: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    boards: dict[str, dict[str, HalfCost]] = field(default_factory=dict)
    front: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip((0.0, *self.parts), (*self.parts, 1.0), strict=True))
        if not self.parts or not ascending:
            raise InvalidRequestError(f"parts are {list(self.parts)} but must ascend between 0 and 1")
        if not (math.isfinite(self.doubt) and self.doubt > 0):
            raise InvalidRequestError(f"doubt is {self.doubt} but must be above 0")

    def out_of_reach(self, curve: Curve) -> bool:
        """Return whether a curve of some of the images has, even with luck, no point worth having.

        Never while a cost that objectives or constraints need is not known.
        """
        candidate = FrontCandidate(
            id="", number=1, coupling="", curve=lucky(curve, self.doubt), costs=self.costs, boards=self.boards
        )
        known = curve_values(candidate)
        if any(name not in known for name in (*self.objectives, *self.constraints)):
            return False
        points = told_points(candidate, self.objectives, self.constraints)
        rows = [[float(point[name]) for name in self.objectives] for point in points]
        return not rows or not can_touch(rows, self.front)

    def to_dict(self) -> dict[str, Any]:
        """Return the bar as JSON-able data, the exact inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Bar:
        """Return the bar in `data`."""
        boards = {c: {half: HalfCost(**cost) for half, cost in found.items()} for c, found in data["boards"].items()}
        front = tuple(tuple(point) for point in data["front"])
        lists = {name: tuple(data[name]) for name in ("parts", "objectives")}
        return cls(**{**data, **lists, "boards": boards, "front": front})


def lucky(curve: Curve, doubt: float) -> Curve:
    """Return a curve as good as it may be on many images: more of them right, and fewer of them escalated.

    Args:
        curve: On some images, drawn from all of them.
        doubt: How many standard errors each point is moved (Wilson's interval, JASA 1927).
    """
    right, escalated = (
        _wilson(counts / curve.n, curve.n, doubt * sign)
        for counts, sign in ((curve.correct, 1.0), (curve.escalated, -1.0))
    )
    return Curve(
        thresholds=curve.thresholds,
        escalated=np.floor(escalated * curve.n).astype(np.int64),
        correct=np.ceil(right * curve.n).astype(np.int64),
        n=curve.n,
    )


def _wilson(share: Floats, n: int, z: float) -> Floats:
    """Return one end of Wilson's interval of a share: the upper for z above 0, else the lower."""
    middle = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    ends: Floats = np.clip((middle + half) / (1 + z * z / n), 0.0, 1.0)
    return ends
