"""The outputs of two nets that were trained apart, joined into a cascade.

Wang et al., Wisdom of Committees (ICLR 2022): a cascade whose later answer counts in the earlier one's is better than
one that throws it away. The escalated logits are `big + alpha * little`, as a co-trained pair's are, and alpha is
fitted on calibration outputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from nas_service.errors import InvalidRequestError
from workers.bench.system import SystemOutputs

LEAST = 1e-3  # of the big's weight in the fit


def combination_weight(calibration_little: SystemOutputs, calibration_big: SystemOutputs) -> float:
    """Return the alpha >= 0 of `big + alpha * little` that is likeliest on calibration outputs of two static nets.

    The two weights of a multinomial regression on both nets' logits, never below 0, are found together, since their
    common scale is a temperature that changes no answer; alpha is their ratio. The problem is convex.
    """
    _check(calibration_little, calibration_big)
    parts = np.stack([calibration_big.logits[0], calibration_little.logits[0]]).astype(np.float64)
    labels = calibration_big.labels
    rows = np.arange(len(labels))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = np.tensordot(weights, parts, axes=1)
        surprise = -log_softmax(logits, axis=1)[rows, labels].mean()
        error = softmax(logits, axis=1)
        error[rows, labels] -= 1
        return float(surprise), np.tensordot(parts, error, axes=([1, 2], [0, 1])) / len(labels)

    found = minimize(loss, np.array([1.0, 0.5]), jac=True, method="L-BFGS-B", bounds=[(LEAST, None), (0.0, None)])
    big, little = (float(weight) for weight in found.x)
    return little / big


def joined(little: SystemOutputs, big: SystemOutputs, *, alpha: float) -> SystemOutputs:
    """Return the outputs of a cascade of two static nets on one split: exit 0 the little, exit 1 both combined."""
    _check(little, big)
    escalated = big.logits[0] + np.float32(alpha) * little.logits[0]
    return SystemOutputs(logits=np.stack([little.logits[0], escalated]).astype(np.float32), labels=little.labels)


def _check(little: SystemOutputs, big: SystemOutputs) -> None:
    if len(little.logits) != 1 or little.logits.shape != big.logits.shape or (little.labels != big.labels).any():
        raise InvalidRequestError(
            f"outputs {little.logits.shape} and {big.logits.shape} are not of two static nets on the same images; run "
            "both on one split"
        )
