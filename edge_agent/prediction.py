"""What a pair says about one image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.float32]

_FEW_CLASSES = 64


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a pair says about one image. `score` is the router's; `latency_ms` includes normalising."""

    label: str
    probabilities: Tensor
    route: Literal["little", "big"]
    score: float
    latency_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {
            "label": self.label,
            "probabilities": [float(value) for value in self.probabilities],
            "route": self.route,
            "score": self.score,
            "latency_ms": self.latency_ms,
        }


def softmax(logits: Tensor) -> tuple[int, Tensor]:
    """Return which class is likeliest, and the probabilities; few classes take less time without numpy's calls."""
    values = logits.tolist()
    most = max(values)
    if len(values) > _FEW_CLASSES:
        shares = np.exp(logits - most)
        return values.index(most), shares / shares.sum()
    exps = [math.exp(value - most) for value in values]
    total = sum(exps)
    return values.index(most), np.array([value / total for value in exps], dtype=np.float32)
