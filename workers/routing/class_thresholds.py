"""One threshold for each class that the little predicts.

Class-dependent thresholds as in Daghero et al., ICECS 2020; fitted here by a Lagrangian. For a price per escalation,
every class takes the threshold that maximises `correct - price * escalated` on calibration, and the price is the
lowest, but not below 0, at which at most the wanted share is escalated in total. A price reaches only the corners of
the classes' curves, so what is left of the share then goes, class by class, where it gains most. A class of fewer than
`min_samples` calibration inputs keeps the single threshold of that share, because its own would be noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Mask
from workers.protocol.record import Record

MIN_SAMPLES = 50
FARTHEST = 1e30  # a finite `always` or, negated, `never`: a bundle's thresholds are finite where each class has one
_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassThresholds(Record):
    """Thresholds by class that the little predicts, finite, as a bundle's operating point holds them.

    Attributes:
        thresholds: One per class.
        pooled: Whether the class had too few inputs and took the single threshold.
        calibration_accuracy: In [0, 1].
        calibration_rate: In [0, 1]; at most the share that was asked for.
    """

    thresholds: tuple[float, ...]
    pooled: tuple[bool, ...]
    calibration_accuracy: float
    calibration_rate: float

    def shifted(self, scores: NDArray[np.floating], predicted: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return (N,) scores less their class's threshold: an input is escalated when this is below 0."""
        return np.asarray(scores.astype(np.float64) - np.array(self.thresholds)[predicted])


def fit_class_thresholds(
    scores: NDArray[np.floating],
    *,
    predicted: NDArray[np.integer],
    little_correct: Mask,
    escalated_correct: Mask,
    classes: int,
    rate: float,
    min_samples: int = MIN_SAMPLES,
) -> ClassThresholds:
    """Return the class thresholds that get most right on calibration and escalate at most a share `rate` there.

    Args:
        scores: (N,) higher is surer.
        predicted: (N,) the little's classes.
        little_correct: (N,).
        escalated_correct: (N,).
        classes: Number of classes.
        rate: Share to escalate at most, in [0, 1]; less is escalated where more would do harm.
        min_samples: Fewest inputs of a class with a threshold of its own.

    Raises:
        InvalidRequestError: a rate out of range, or a predicted class beyond `classes`.
    """
    if not 0 <= rate <= 1 or predicted.max() >= classes:
        raise InvalidRequestError(
            f"rate {rate} and predicted class {predicted.max()} of {classes}; give a rate in [0, 1] and classes below "
            f"{classes}"
        )
    single = Curve.from_outputs(scores, little_correct, escalated_correct)
    common = float(single.thresholds[int(np.flatnonzero(single.escalation_rate <= rate + 1e-12)[-1])])
    own = {
        index: Curve.from_outputs(scores[inside], little_correct[inside], escalated_correct[inside])
        for index in range(classes)
        if (inside := predicted == index).sum() >= min_samples
    }
    spent = int((scores < common)[~np.isin(predicted, list(own))].sum())
    values = np.full(classes, common)
    for index, point in _points(own, allowed=rate * len(scores) - spent).items():
        values[index] = own[index].thresholds[point]
    found = tuple(float(v) for v in np.clip(values, -FARTHEST, FARTHEST))
    escalated = scores < np.array(found)[predicted]
    return ClassThresholds(
        thresholds=found,
        pooled=tuple(index not in own for index in range(classes)),
        calibration_accuracy=float(np.where(escalated, escalated_correct, little_correct).mean()),
        calibration_rate=float(escalated.mean()),
    )


def _points(curves: dict[int, Curve], *, allowed: float) -> dict[int, int]:
    """Return the point of each class's curve, at most `allowed` inputs escalated by all of them."""
    price = _price(curves, allowed=allowed)
    points = {index: _best(curve, price) for index, curve in curves.items()}
    while True:
        left = allowed - sum(int(curve.escalated[points[index]]) for index, curve in curves.items())
        better = {index: _best_within(curve, points[index], left) for index, curve in curves.items()}
        gains = {
            index: int(curve.correct[better[index]] - curve.correct[points[index]]) for index, curve in curves.items()
        }
        if not any(gains.values()):
            return points
        index = max(gains, key=lambda key: gains[key])
        points[index] = better[index]


def _price(curves: dict[int, Curve], *, allowed: float) -> float:
    """Return the lowest price, by bisection over [0, 1], at which the classes escalate at most `allowed` inputs."""
    low, high = 0.0, 1.0 + 1e-9
    for _ in range(_STEPS):
        middle = (low + high) / 2
        spent = sum(int(curve.escalated[_best(curve, middle)]) for curve in curves.values())
        low, high = (middle, high) if spent > allowed else (low, middle)
    return high


def _best(curve: Curve, price: float) -> int:
    """Return the point of the highest `correct - price * escalated`; the cheapest of equals."""
    return int(np.argmax(curve.correct - price * curve.escalated))


def _best_within(curve: Curve, point: int, left: float) -> int:
    """Return the most right point from `point` on that escalates at most `left` more; the cheapest of equals."""
    stop = int(np.searchsorted(curve.escalated, curve.escalated[point] + left, side="right"))
    return point + int(np.argmax(curve.correct[point:stop]))
