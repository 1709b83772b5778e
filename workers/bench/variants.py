"""Choices made otherwise under the same router, to be compared with the system's own at one tolerated drop.

With a threshold for each class that the little predicts (EVALUATION protocol, section 2.8), and on the easy half of
calibration (2.9 c).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.protocol.choices import FrozenChoices, freeze
from workers.protocol.groups import cross_entropy, difficulty_groups
from workers.protocol.outcomes import CachedOutputs, Mask, Outcomes
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


def freeze_on_easy(choices: FrozenChoices, calibration: CachedOutputs, scores: NDArray[np.floating]) -> FrozenChoices:
    """Return a pair's choices with thresholds from the easy half of calibration; scores (N,) of all of it."""
    easy = easy_half(calibration.escalated_logits, calibration.labels)
    outcomes = calibration.outcomes(scores)
    kept = Outcomes(
        scores=scores[easy],
        little_correct=outcomes.little_correct[easy],
        escalated_correct=outcomes.escalated_correct[easy],
    )
    return _again(choices, kept)


def easy_half(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Mask:
    """Return (N,) which images are of the half with the lower loss under logits (N, classes).

    When choices are frozen no other net need be finished, so the judge of calibration images is the system's own last
    exit, not a third net as of test images. Its loss is not what routers see, the little's sureness, but what
    escalation gets right it calls easy.
    """
    return np.asarray(difficulty_groups(cross_entropy(logits, labels), quantiles=2) == 0)


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
