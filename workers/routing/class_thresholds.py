"""One threshold for each class that the little predicts.

Class-dependent thresholds as in Daghero et al., ICECS 2020; fitted here by a Lagrangian. For a price per escalation,
every class takes the threshold that maximises `correct - price * escalated` on calibration, and the price is the
highest at which the wanted share is escalated in total. A class of fewer than `min_samples` calibration inputs keeps
the single threshold of that share, because its own would be noise.
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
        calibration_rate: In [0, 1]; at most the share that was asked for, but for ties and pooled classes.
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
    """Return the class thresholds of calibration data that escalate a share `rate`.

    Args:
        scores: (N,) higher is surer.
        predicted: (N,) the little's classes.
        little_correct: (N,).
        escalated_correct: (N,).
        classes: Number of classes.
        rate: Share to escalate, in [0, 1].
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
    price = _price(own, allowed=rate * len(scores) - spent)
    values = np.full(classes, common)
    for index, curve in own.items():
        values[index] = curve.thresholds[_best(curve, price)]
    found = tuple(float(v) for v in np.clip(values, -FARTHEST, FARTHEST))
    escalated = scores < np.array(found)[predicted]
    return ClassThresholds(
        thresholds=found,
        pooled=tuple(index not in own for index in range(classes)),
        calibration_accuracy=float(np.where(escalated, escalated_correct, little_correct).mean()),
        calibration_rate=float(escalated.mean()),
    )


def _price(curves: dict[int, Curve], *, allowed: float) -> float:
    """Return the lowest price, by bisection over [-1, 1], at which the classes escalate at most `allowed` inputs."""
    low, high = -1.0 - 1e-9, 1.0 + 1e-9
    for _ in range(_STEPS):
        middle = (low + high) / 2
        spent = sum(int(curve.escalated[_best(curve, middle)]) for curve in curves.values())
        low, high = (middle, high) if spent > allowed else (low, middle)
    return high


def _best(curve: Curve, price: float) -> int:
    """Return the point of the highest `correct - price * escalated`; the cheapest of equals."""
    return int(np.argmax(curve.correct - price * curve.escalated))
