"""Monotone scales on which an objective's figures are easier to learn: linear, or logarithms from some origin.

The origin is chosen by likelihood: among transformed outputs under one fixed process, Jacobian included, the likeliest
wins. So a cost that multiplies over genes is learnt as a logarithm, and one that adds up as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky

from nas_service.front import Floats

CLIP = 4.0  # standard deviations, on the bad side: how bad the worst are is of no interest
MARGINS = (0.02, 0.1, 0.5)  # origins below the best, in interquartile ranges
LARGEST_LOG = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A figure y as log((y - origin) / unit), or with no origin as y / unit; worse than `worst` counts as `worst`.

    Attributes:
        unit: a typical spread of the figures, > 0.
        origin: where the logarithm's pole lies, below every figure; None for a linear scale.
        worst: the largest figure that is told apart.
    """

    unit: float
    origin: float | None = None
    worst: float = np.inf

    def forward(self, y: Floats) -> Floats:
        """The figures on the scale; those that are better than the origin allows count as almost there."""
        clipped = np.minimum(y, self.worst)
        if self.origin is None:
            return np.asarray(clipped / self.unit, dtype=np.float64)
        return np.asarray(np.log(np.maximum((clipped - self.origin) / self.unit, 1e-9)), dtype=np.float64)

    def backward(self, z: Floats) -> Floats:
        """The figures of values on the scale."""
        if self.origin is None:
            return np.asarray(z * self.unit, dtype=np.float64)
        return np.asarray(self.origin + self.unit * np.exp(np.minimum(z, LARGEST_LOG)), dtype=np.float64)


def fitted_scale(y: Floats, covariance: Floats) -> Scale:
    """The likeliest scale for figures y (n, m) of one objective, given the covariance (n, n) of points and noise."""
    flat = y.ravel()
    low, high = np.quantile(flat, (0.25, 0.75))
    unit = float(high - low) or float(flat.max() - flat.min())
    if not unit > 0 or not np.isfinite(unit):
        return Scale(unit=1.0)
    best = float(flat.min())
    origins: list[float | None] = [None, *(best - margin * unit for margin in MARGINS)]
    if best > 0:
        origins.append(0.0)
    factor = cholesky(covariance, lower=True)
    scales = [_clipped(Scale(unit=unit, origin=origin), flat) for origin in origins]
    return max(scales, key=lambda scale: _likelihood(scale, y, factor))


def _clipped(scale: Scale, y: Floats) -> Scale:
    z = scale.forward(y)
    middle, spread = float(np.median(z)), float(z.std())
    near = z[np.abs(z - middle) <= CLIP * spread]
    worst = float(near.mean() + CLIP * near.std()) if len(near) else middle
    top = float(scale.backward(np.array([worst]))[0])
    return Scale(unit=scale.unit, origin=scale.origin, worst=max(top, float(np.median(y))))


def _likelihood(scale: Scale, y: Floats, factor: Floats) -> float:
    z = scale.forward(y)
    centred = z - z.mean(axis=0)
    fit = np.maximum((centred * cho_solve((factor, True), centred)).sum(axis=0), 1e-12)
    jacobian: Any = 0.0
    if scale.origin is not None:
        # clipped figures count like all others: the density is that of the unclipped scale
        jacobian = -np.log(np.maximum((np.minimum(y, scale.worst) - scale.origin) / scale.unit, 1e-9)).sum()
    return float(-0.5 * len(y) * np.log(fit / len(y)).sum() + jacobian)
