"""How well a router ranks inputs: failure and benefit detection, selective risk, calibration.

EVALUATION protocol, section 2.6. AUROC and AUPR (average precision) are scikit-learn's. AURC and E-AURC: Geifman, Uziel
and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR 2019; the best possible AURC is
computed exactly from the number of errors, not by its integral. ECE: Guo et al., On Calibration of Modern Neural
Networks, ICML 2017, 15 bins of equal width; it is a diagnostic only, because failure prediction and not calibration
tracks efficiency (Kubaty et al., arXiv 2508.21495).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from workers.protocol.outcomes import Floats, Mask, Outcomes
from workers.protocol.record import Record

BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterQuality(Record):
    """Ranking figures of one router on one split; None where only one outcome occurs.

    Attributes:
        failure_auroc: Of a low score for `little wrong`.
        benefit_auroc: Of a low score for `little wrong and big right`.
        benefit_aupr: Average precision for the same; a random router has `benefit_share`.
        benefit_share: p01, in [0, 1].
        aurc: Mean over coverages of the little's error among the inputs it is surest of, in [0, 1].
        e_aurc: `aurc` less that of the best order.
    """

    failure_auroc: float | None
    benefit_auroc: float | None
    benefit_aupr: float | None
    benefit_share: float
    aurc: float
    e_aurc: float

    @classmethod
    def of(cls, outcomes: Outcomes) -> RouterQuality:
        """Return the figures of the outcomes' scores."""
        wrong, benefit = ~outcomes.little_correct, outcomes.gain > 0
        area = aurc(outcomes.scores, wrong)
        return cls(
            failure_auroc=auroc(outcomes.scores, wrong),
            benefit_auroc=auroc(outcomes.scores, benefit),
            benefit_aupr=float(average_precision_score(benefit, -outcomes.scores)) if benefit.any() else None,
            benefit_share=float(benefit.mean()),
            aurc=area,
            e_aurc=area - best_aurc(errors=int(wrong.sum()), n=outcomes.n),
        )


def auroc(scores: NDArray[np.floating], event: Mask) -> float | None:
    """Return the probability that an input with the event (N,) has a lower score than one without; ties count half."""
    if event.all() or not event.any():
        return None
    return float(roc_auc_score(event, -scores))


def aurc(scores: NDArray[np.floating], wrong: Mask) -> float:
    """Return the mean over k = 1..N of the error among the k highest scores; ties are in expectation over their orders.

    Args:
        scores: (N,) higher is surer.
        wrong: (N,) whether the little is wrong.
    """
    _, group, size = np.unique(-scores, return_inverse=True, return_counts=True)
    expected = (np.bincount(group, weights=wrong) / size)[np.sort(group)]
    return float((np.cumsum(expected) / np.arange(1, len(scores) + 1)).mean())


def best_aurc(*, errors: int, n: int) -> float:
    """Return the AURC of a score that puts all errors last."""
    covered = np.arange(1, n + 1)
    return float((np.maximum(covered - (n - errors), 0) / covered).mean())


def probabilities(logits: NDArray[np.floating], *, temperature: float = 1.0) -> Floats:
    """Return the (N, classes) softmax of logits over a temperature > 0."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=1))


def expected_calibration_error(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, temperature: float = 1.0, bins: int = BINS
) -> float:
    """Return the ECE in [0, 1]: the mean over inputs of |accuracy - confidence| of their bin.

    Args:
        logits: (N, classes).
        labels: (N,).
        temperature: Divides the logits.
        bins: Of equal width over (0, 1]; a confidence on an edge belongs to the lower one.
    """
    predicted = probabilities(logits, temperature=temperature)
    confidence = predicted.max(axis=1)
    gap = (predicted.argmax(axis=1) == labels) - confidence
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(index, weights=gap, minlength=bins)).sum() / len(labels))
