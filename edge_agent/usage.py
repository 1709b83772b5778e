"""What a pair did since it was loaded: how many images took which route, and how long they took."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.statistics import percentile_ms

_WINDOW = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTimes:
    """Latencies of the latest images of one route, at most 1,024; a percentile is None where so few do not bound it."""

    n: int
    mean_ms: float
    median_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts since loading, and latencies by route.

    Attributes:
        n: Images predicted.
        escalated: How many of them the big network saw.
        against_threshold: How many took another route than the operating point's threshold says, because of drift or a
            target that is held.
        escalation_rate: Share of escalated images, in [0, 1]; None without any image.
        labels: How often each label was predicted; those that never were are left out.
        little: Latencies of images that only the little network saw; None without any.
        big: Latencies of images that went on to the big one, the little's part included; None without any.
    """

    n: int
    escalated: int
    against_threshold: int
    escalation_rate: float | None
    labels: dict[str, int]
    little: RouteTimes | None
    big: RouteTimes | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return dataclasses.asdict(self)


class UsageCounter:
    """Counts predictions; made to cost next to nothing beside one."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._labels = [0] * len(classes)
        self._escalated = self._against = 0
        self._times: tuple[deque[float], deque[float]] = (deque(maxlen=_WINDOW), deque(maxlen=_WINDOW))

    def add(self, label: int, *, escalated: bool, wanted: bool, latency_ms: float) -> None:
        """Count one prediction: the index of its class, its route, the threshold's wish, and its latency."""
        self._labels[label] += 1
        self._escalated += escalated
        self._against += escalated != wanted
        self._times[escalated].append(latency_ms)

    def read(self) -> Usage:
        """Return the figures as they are now."""
        n = sum(self._labels)
        little, big = (_route_times(times) for times in self._times)
        return Usage(
            n=n,
            escalated=self._escalated,
            against_threshold=self._against,
            escalation_rate=self._escalated / n if n else None,
            labels={name: count for name, count in zip(self._classes, self._labels, strict=True) if count},
            little=little,
            big=big,
        )


def _route_times(times: deque[float]) -> RouteTimes | None:
    if not times:
        return None
    values = np.array(times, dtype=np.float64)
    p90, p95, p99 = (percentile_ms(values, percent) for percent in (90, 95, 99))
    return RouteTimes(
        n=len(values),
        mean_ms=float(values.mean()),
        median_ms=float(np.median(values)),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(values.max()),
    )
