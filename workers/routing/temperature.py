"""Temperature scaling of the little's softmax, fitted on calibration data.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2: one temperature that minimises the
negative log-likelihood. That is convex in 1 / T, so a bounded line search over log T finds it. It changes no arg-max,
and the ranking by `msp`, `margin` or `entropy` only a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from nas_service.errors import InvalidRequestError
from workers.protocol.record import Record

LOWEST, HIGHEST = 0.05, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature(Record):
    """Divide logits by `value`, in [0.05, 20]; with the mean negative log-likelihood in nats before and after."""

    value: float
    nll_before: float
    nll_after: float

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scaled logits, of the shape of `logits`."""
        return np.asarray(logits, dtype=np.float64) / self.value


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Temperature:
    """Return the temperature that makes the labels (N,) likeliest under logits (N, classes) of held-out data.

    Raises:
        InvalidRequestError: shapes that do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise InvalidRequestError(
            f"logits {logits.shape} with labels {labels.shape}; give (N, classes) and (N,), N >= 1"
        )
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(wide / math.exp(log_temperature), labels)

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    before, after = loss(0.0), float(found.fun)
    if after >= before:
        return Temperature(value=1.0, nll_before=before, nll_after=before)
    return Temperature(value=math.exp(float(found.x)), nll_before=before, nll_after=after)


def negative_log_likelihood(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean over inputs, in nats."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
