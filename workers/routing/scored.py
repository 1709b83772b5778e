"""Cached outputs of one split under one router: what any threshold, also one per class, does to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import LIMITS, Mask, Outcomes

PointThreshold = float | tuple[float, ...] | Literal["never", "always"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """All that routing depends on, of one split of N images.

    Attributes:
        outcomes: The router's scores, and who is right.
        predicted: (N,) the little's classes.
        classes: Number of classes.
    """

    outcomes: Outcomes = field(repr=False)
    predicted: NDArray[np.int64] = field(repr=False)
    classes: int

    @property
    def n(self) -> int:
        """Number of images."""
        return self.outcomes.n

    @property
    def curve(self) -> Curve:
        """Accuracy and escalation rate at every threshold that is the same for all classes."""
        return self.outcomes.curve

    def escalated(self, threshold: PointThreshold) -> Mask:
        """Return (N,) which images go on to the big, by the rule of a bundle's operating point.

        Raises:
            InvalidRequestError: another number of thresholds than classes.
        """
        if not isinstance(threshold, tuple):
            return self.outcomes.escalates(LIMITS[threshold] if isinstance(threshold, str) else threshold)
        if len(threshold) != self.classes:
            raise InvalidRequestError(
                f"{len(threshold)} thresholds for {self.classes} classes; give one, or one for each predicted class"
            )
        return np.asarray(self.outcomes.scores.astype(np.float64) < np.array(threshold)[self.predicted])

    def accuracy(self, threshold: PointThreshold) -> float:
        """Return the share in [0, 1] that is classified rightly."""
        outcomes = self.outcomes
        right = np.where(self.escalated(threshold), outcomes.escalated_correct, outcomes.little_correct)
        return float(right.mean())

    def rate(self, threshold: PointThreshold) -> float:
        """Return the share in [0, 1] that is escalated."""
        return float(self.escalated(threshold).mean())


def named(threshold: float) -> PointThreshold:
    """Return the threshold as an operating point holds it: infinite ones by name."""
    if math.isinf(threshold):
        return "always" if threshold > 0 else "never"
    return threshold
