"""A pair's choices made otherwise under the same router, to be compared with its own at one tolerated drop.

With a threshold for each class that the little predicts (EVALUATION protocol, section 2.8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.protocol.choices import FrozenChoices, freeze
from workers.protocol.outcomes import CachedOutputs, Outcomes
from workers.routing.class_thresholds import fit_class_thresholds

DROP_POINTS = 0.5  # the tolerated drop at which variants are compared, and held under shifts


def freeze_by_class(single: FrozenChoices, calibration: CachedOutputs, scores: NDArray[np.floating]) -> FrozenChoices:
    """Return choices with class thresholds that lose no more on calibration and escalate as little as they can.

    The thresholds are fitted at the rate of the single one. Where that makes them more accurate than they must be, what
    is tolerated buys a lower rate, at which they are fitted again, until it falls no further. So on calibration never
    more is escalated than with a single threshold; where class thresholds do not pay, they are all 0, which is that.

    Args:
        single: The choices with one threshold for all classes, whose reference is the pair's own escalation.
        calibration: Outputs that they were made on.
        scores: (N,) of these, by the same router.
    """
    predicted, classes = calibration.predicted, calibration.little_logits.shape[1]
    best = _again(single, calibration.outcomes(scores), class_thresholds=(0.0,) * classes)
    while True:
        found = fit_class_thresholds(
            scores,
            predicted=predicted,
            little_correct=calibration.little_correct,
            escalated_correct=calibration.escalated_correct,
            classes=classes,
            rate=_rate(best),
        )
        shifted = calibration.outcomes(found.shifted(scores, predicted))
        tried = _again(single, shifted, class_thresholds=found.thresholds)
        if _rate(tried) >= _rate(best):
            return best
        best = tried


def _again(
    choices: FrozenChoices, calibration: Outcomes, *, class_thresholds: tuple[float, ...] | None = None
) -> FrozenChoices:
    """Return choices for the same system and router from other outcomes."""
    return freeze(
        choices.system,
        calibration=calibration,
        costs=choices.costs,
        router=choices.router,
        temperature=choices.temperature,
        class_thresholds=class_thresholds,
    )


def _rate(choices: FrozenChoices) -> float:
    rate = choices.iso_at(DROP_POINTS).calibration_rate
    return 1.0 if rate is None else rate
