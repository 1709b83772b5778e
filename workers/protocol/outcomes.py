"""What a system's cached outputs come down to: who is right, how sure the little is, and what each path costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.protocol.record import Record

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
LIMITS = {"never": -math.inf, "always": math.inf}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CachedOutputs:
    """Outputs of one pair on one split: (N, classes) finite logits of both routes, and (N,) labels."""

    little_logits: NDArray[np.floating] = field(repr=False)
    escalated_logits: NDArray[np.floating] = field(repr=False)
    labels: NDArray[np.integer] = field(repr=False)

    def __post_init__(self) -> None:
        little, escalated, labels = self.little_logits, self.escalated_logits, self.labels
        if little.ndim != 2 or little.shape != escalated.shape or labels.shape != little.shape[:1] or not len(labels):
            raise InvalidRequestError(
                f"logits {little.shape} and {escalated.shape} with labels {labels.shape}; give (N, classes) twice "
                "and (N,), N >= 1"
            )
        if bad := int((~np.isfinite(little) | ~np.isfinite(escalated)).any(axis=1).sum()):
            raise InvalidRequestError(f"logits of {bad} of {len(labels)} images are not finite; train again")

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the little's class."""
        return np.asarray(self.little_logits.argmax(axis=1), dtype=np.int64)

    @property
    def little_correct(self) -> Mask:
        """(N,) whether the little is right."""
        return np.asarray(self.predicted == self.labels)

    @property
    def escalated_correct(self) -> Mask:
        """(N,) whether the escalated prediction is right."""
        return np.asarray(self.escalated_logits.argmax(axis=1) == self.labels)

    def outcomes(self, scores: NDArray[np.floating]) -> Outcomes:
        """Return the outcomes under a router's scores (N,), higher is surer."""
        return Outcomes(scores=scores, little_correct=self.little_correct, escalated_correct=self.escalated_correct)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """All that routing depends on, of one split.

    Attributes:
        scores: (N,) the router's, finite; higher is surer; an input is escalated when `score < threshold`.
        little_correct: (N,) whether the little is right.
        escalated_correct: (N,) whether the escalated prediction is right.
    """

    scores: NDArray[np.floating] = field(repr=False)
    little_correct: Mask = field(repr=False)
    escalated_correct: Mask = field(repr=False)

    def __post_init__(self) -> None:
        shapes = (self.scores.shape, self.little_correct.shape, self.escalated_correct.shape)
        if len(set(shapes)) != 1 or self.scores.ndim != 1 or not len(self.scores):
            raise InvalidRequestError(f"scores and correctness have shapes {shapes}; give three equal (N,), N >= 1")
        if bad := int((~np.isfinite(self.scores)).sum()):
            raise InvalidRequestError(f"{bad} of {len(self.scores)} scores are not finite; mend the router")

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.scores)

    @property
    def gain(self) -> Floats:
        """(N,) what escalating changes: 1 little wrong and big right, -1 the reverse, 0 no difference."""
        return self.escalated_correct.astype(np.float64) - self.little_correct

    @property
    def little_accuracy(self) -> float:
        """Share in [0, 1] that the little classifies rightly."""
        return float(self.little_correct.mean())

    @property
    def escalated_accuracy(self) -> float:
        """Share in [0, 1] that is right when everything is escalated."""
        return float(self.escalated_correct.mean())

    @property
    def curve(self) -> Curve:
        """Accuracy and escalation rate at every threshold."""
        return Curve.from_outputs(self.scores, self.little_correct, self.escalated_correct)

    def escalates(self, threshold: float) -> Mask:
        """Return (N,) which inputs go to the big; -inf is never, +inf always."""
        return np.asarray(self.scores.astype(np.float64) < threshold)

    def correct(self, threshold: float) -> Mask:
        """Return (N,) whether the routed prediction is right."""
        return np.where(self.escalates(threshold), self.escalated_correct, self.little_correct)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCosts(Record):
    """What the executed paths cost, in one unit (MACs, milliseconds, millijoules), heads and adapters included.

    `C = little + router + rate * tail` (EVALUATION protocol, section 2: the tail is the big less what it reuses).

    Attributes:
        little: Of the little, for every input.
        tail: Added on escalation.
        big: Of the static big net that savings are counted against.
        router: Of the router, for every input.
    """

    little: float
    tail: float
    big: float
    router: float = 0.0

    def __post_init__(self) -> None:
        if not (self.little > 0 and self.tail > 0 and self.big > 0 and self.router >= 0):
            raise InvalidRequestError(
                f"costs are little {self.little}, tail {self.tail}, big {self.big}, router {self.router}; the first "
                "three must be > 0 and the router's >= 0"
            )

    @property
    def least(self) -> float:
        """Of an input that stays."""
        return self.little + self.router

    @property
    def worst(self) -> float:
        """Of an input that is escalated."""
        return self.least + self.tail

    def expected(self, rate: float) -> float:
        """Return the mean cost at an escalation rate in [0, 1]."""
        return self.least + rate * self.tail

    def expected_all(self, rates: Floats) -> Floats:
        """Return the mean costs at escalation rates of any shape."""
        return np.asarray(self.least + rates * self.tail, dtype=np.float64)

    def saving(self, cost: float) -> float:
        """Return the share of the static big's cost that `cost` saves; negative if it is dearer."""
        return 1 - cost / self.big
