"""Holding a share of escalated images, or a mean latency, while a pair runs. Standard library only.

A threshold was chosen for the images of calibration; on harder ones it escalates more, and costs more. The controllers
move it. They work by adaptive conformal inference (Gibbs and Candès, arXiv 2106.00170), a stochastic approximation in
the scores' ranks, so that it does not matter how a router scales them: an image is escalated if its score is below the
quantile of recent scores at a level, and after each image

    level <- level + gain * (target - escalated)

Below level 0 nothing is escalated and above 1 everything, so the level never leaves [-gain, 1 + gain]; hence, for any
images in any order, the share over n images is within (1 + gain) / (gain n) of the target. Where the big's share is
limited instead of held (a latency budget), it is at most that much above. The first 32 images take the routes of the
operating point and are not counted in this.

Scores enter as leads, score minus threshold of the predicted class, so thresholds by class stay apart as they were.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Any

_GAIN = 0.02
_WINDOW = 256
_WARM_UP = 32
_MEMORY = 32


class RateController:
    """Holds the share of escalated images at a target.

    Args:
        rate: The target, in [0, 1].
        is_limit: Escalate only what the operating point escalates, too: the target is then what is not exceeded.
        gain: How far one image moves the level, in (0, 1). A larger one holds shorter stretches and routes worse.
        window: Scores that the quantile is taken of, >= 32.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, rate: float, *, is_limit: bool = False, gain: float = _GAIN, window: int = _WINDOW) -> None:
        if not (0 <= rate <= 1 and 0 < gain < 1 and window >= _WARM_UP):
            raise ValueError(
                f"rate is {rate}, gain {gain}, window {window}; give a rate in [0, 1], a gain in (0, 1) and a window "
                f"of at least {_WARM_UP}"
            )
        self.rate, self.is_limit, self._gain = rate, is_limit, gain
        self._level: float | None = None
        self._recent: deque[float] = deque(maxlen=window)
        self._ordered: list[float] = []

    @property
    def level(self) -> float | None:
        """Return the level, in [-gain, 1 + gain]; None before there are scores enough."""
        return self._level

    def decide(self, lead: float) -> bool:
        """Return whether to escalate an image whose score is by `lead` above the threshold, and learn from it.

        One whose lead is no number is always escalated.
        """
        wants = not lead >= 0
        if len(self._ordered) < _WARM_UP:
            self._remember(lead)
            return wants
        level = self.rate if self._level is None else self._level
        escalates = (self._is_below(lead, level) and (wants or not self.is_limit)) or lead != lead
        moved = level + self._gain * (self.rate - escalates)
        self._level = min(max(moved, -self._gain), 1 + self._gain)
        self._remember(lead)
        return escalates

    def spent(self, little_ms: float, big_ms: float | None) -> None:
        """Take note of what the image took; a rate does not depend on it."""

    def to_dict(self) -> dict[str, Any]:
        """Return target and state as JSON-able values."""
        return {"escalation_rate": self.rate, "level": self._level}

    def _is_below(self, lead: float, level: float) -> bool:
        if level <= 0:
            return False
        rank = int(level * len(self._ordered))
        return rank >= len(self._ordered) or lead < self._ordered[rank]

    def _remember(self, lead: float) -> None:
        if lead != lead:
            return
        if len(self._recent) == self._recent.maxlen:
            del self._ordered[bisect_left(self._ordered, self._recent[0])]
        self._recent.append(lead)
        insort(self._ordered, lead)


class LatencyController:
    """Keeps the mean latency of recent images within a budget, by limiting how many of them go to the big.

    What the little and the big take is averaged as it is measured, with a memory of some 32 images each, and the share
    that fits the budget is kept by a RateController. Never escalates what the operating point would not, so an ample
    budget changes nothing; a budget that the little alone exceeds escalates nothing. It bounds a mean, not one image.

    Args:
        budget_ms: Milliseconds per image, > 0.
        gain: See RateController.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, budget_ms: float, *, gain: float = _GAIN) -> None:
        if not 0 < budget_ms < float("inf"):
            raise ValueError(f"latency budget is {budget_ms} ms but must be above 0")
        self.budget_ms = budget_ms
        self._rate = RateController(1.0, is_limit=True, gain=gain)
        self._little, self._big = _Mean(), _Mean()

    @property
    def rate(self) -> float:
        """Return the share of images that may go to the big at present, in [0, 1]."""
        return self._rate.rate

    @property
    def level(self) -> float | None:
        """Return the level of the rate's controller."""
        return self._rate.level

    def decide(self, lead: float) -> bool:
        """Return whether to escalate an image whose score is by `lead` above the threshold, and learn from it."""
        return self._rate.decide(lead)

    def spent(self, little_ms: float, big_ms: float | None) -> None:
        """Take note of what the image took: all up to the decision, and the big's part; None if that did not run."""
        little = self._little.add(little_ms)
        big = self._big.value if big_ms is None else self._big.add(big_ms)
        if big:
            self._rate.rate = min(max((self.budget_ms - little) / big, 0.0), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return budget and state as JSON-able values."""
        return {
            "latency_budget_ms": self.budget_ms,
            "escalation_rate": self.rate,
            "level": self.level,
            "little_ms": self._little.value,
            "big_ms": self._big.value,
        }


Controller = RateController | LatencyController


class _Mean:
    """A mean that forgets: plain over the first values, then the latest one has a weight of 1 in 32."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._n = 0

    def add(self, value: float) -> float:
        self._n = min(self._n + 1, _MEMORY)
        self.value = value if self.value is None else self.value + (value - self.value) / self._n
        return self.value
