"""The curve of a pair: accuracy and escalation rate at every threshold, from outputs cached once.

Thresholds are never searched by trials. With N cached scores there are at most N + 1 different routings; a curve holds
them all. The expected cost of any kind (MACs, milliseconds, millijoules) is `little + escalation_rate * tail`, so two
numbers price every threshold.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError

Threshold = float | Literal["never", "always"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Every routing of one pair on one split, from never to always escalating.

    Attributes:
        thresholds: (K,) ascending; -inf is `never`, +inf is `always`. Escalate when score < threshold.
        escalated: (K,) how many of the n inputs go on to the big.
        correct: (K,) how many of the n inputs are classified rightly.
        n: Number of inputs.
    """

    thresholds: Floats
    escalated: NDArray[np.int64]
    correct: NDArray[np.int64]
    n: int

    def __post_init__(self) -> None:
        size = len(self.thresholds)
        if self.n < 1 or size < 2 or len(self.escalated) != size or len(self.correct) != size:
            raise InvalidRequestError(
                f"a curve of {size} points over {self.n} inputs; needs at least 2 points and 1 input"
            )
        if not (np.diff(self.thresholds) > 0).all() or not (np.diff(self.escalated) >= 0).all():
            raise InvalidRequestError("a curve's thresholds must ascend and its escalations must not descend")

    @classmethod
    def from_outputs(
        cls,
        scores: NDArray[np.floating],
        little_correct: NDArray[np.bool_],
        big_correct: NDArray[np.bool_],
    ) -> Curve:
        """Return the curve of cached outputs.

        Inputs of equal score are routed together. Thresholds lie half-way between neighbouring scores, so that rounding
        on another machine changes as few routes as possible.

        Args:
            scores: (N,) the router's score of each input, finite; higher is surer.
            little_correct: (N,) whether the little is right.
            big_correct: (N,) whether the escalated prediction is right.

        Raises:
            InvalidRequestError: for shapes that differ, no inputs, or scores that are not finite.
        """
        if not scores.shape == little_correct.shape == big_correct.shape or scores.ndim != 1 or not len(scores):
            raise InvalidRequestError(
                f"scores {scores.shape}, little {little_correct.shape} and big {big_correct.shape} must be equal (N,)"
            )
        if not np.isfinite(scores).all():
            raise InvalidRequestError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
        order = np.argsort(scores, kind="stable")
        ascending = scores[order].astype(np.float64)
        gains = big_correct[order].astype(np.int64) - little_correct[order].astype(np.int64)
        last_of_ties = np.flatnonzero(np.diff(ascending) > 0)
        middles = np.unique((ascending[last_of_ties] + ascending[last_of_ties + 1]) / 2)
        thresholds = np.concatenate([[-math.inf], middles, [math.inf]])
        escalated = np.searchsorted(ascending, thresholds, side="left").astype(np.int64)
        correct = int(little_correct.sum()) + np.concatenate([[0], np.cumsum(gains)])[escalated]
        return cls(thresholds=thresholds, escalated=escalated, correct=correct.astype(np.int64), n=len(scores))

    @property
    def accuracy(self) -> Floats:
        """(K,) share of inputs classified rightly, in [0, 1]."""
        return self.correct / self.n

    @property
    def escalation_rate(self) -> Floats:
        """(K,) share of inputs that go on to the big, in [0, 1]."""
        return self.escalated / self.n

    def expected_cost(self, little: float, tail: float) -> Floats:
        """Return the (K,) mean cost for an input: `little` always, `tail` on escalation, in their common unit."""
        return little + self.escalation_rate * tail

    def threshold(self, index: int) -> Threshold:
        """Return the threshold of point `index`, as a number, `never` or `always`."""
        value = float(self.thresholds[index])
        return value if math.isfinite(value) else ("never" if value < 0 else "always")

    def index_of(self, threshold: Threshold) -> int:
        """Return the point with `threshold`, or else the last one below, which may route one score less."""
        if threshold == "never":
            return 0
        if threshold == "always":
            return len(self.thresholds) - 1
        return int(np.searchsorted(self.thresholds, threshold, side="right")) - 1

    def cheapest_index(self, accuracy: float) -> int | None:
        """Return the point of least escalation with at least `accuracy` in [0, 1], or None if there is none."""
        reached = np.flatnonzero(self.accuracy >= accuracy)
        return int(reached[0]) if len(reached) else None

    def to_bytes(self) -> bytes:
        """Return the curve as a compressed npz."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            thresholds=self.thresholds,
            escalated=self.escalated.astype(np.int32),
            correct=self.correct.astype(np.int32),
            n=np.int64(self.n),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Curve:
        """Return the curve that `to_bytes` wrote; InvalidRequestError if `data` is none."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls(
                    thresholds=arrays["thresholds"].astype(np.float64),
                    escalated=arrays["escalated"].astype(np.int64),
                    correct=arrays["correct"].astype(np.int64),
                    n=int(arrays["n"]),
                )
        except (ValueError, KeyError, OSError) as error:
            raise InvalidRequestError(f"these {len(data)} bytes are no curve: {error}") from None
