"""What an untimed pass over the stream shows: does this board route, score and classify as the cluster did?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.coupled import Coupled, Tensor
from edge_agent.errors import ChildFaultError
from edge_agent.pair_stream import Stream

MAX_MISMATCH = 0.005
_MAX_PARITY_MISMATCH = 0.05
_TIE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """By image of the stream: the board's routes and what it predicts, and how its scores depart from the cluster's.

    A score within rounding of its threshold may fall on either side of it, and is no disagreement. `stages_ms` are
    medians of single steps.
    """

    routes: npt.NDArray[np.int64] = field(repr=False)
    labels: npt.NDArray[np.int64] = field(repr=False)
    agreement: float
    max_score_error: float
    stages_ms: dict[str, float]

    def accuracy(self, stream: Stream, *, shares: tuple[float, float]) -> float | None:
        """Return the share of right answers, by the board's own routes, weighted by the routes' natural shares."""
        if stream.labels is None:
            return None
        right, total, weight = self.labels == stream.labels, 0.0, 0.0
        for route, share in enumerate(shares):
            mine = stream.routes == route
            if mine.any():
                total, weight = total + share * float(right[mine].mean()), weight + share
        return total / weight if weight else None

    def board_shares(self, stream: Stream, *, shares: tuple[float, float]) -> tuple[float, float]:
        """Return the routes' shares as the board routes: the exact ones, corrected by what the stream shows."""
        big = 0.0
        for route, share in enumerate(shares):
            mine = stream.routes == route
            big += share * (float(self.routes[mine].mean()) if mine.any() else route)
        return 1 - big, big


def observe(
    pair: Coupled,
    stream: Stream,
    *,
    normalise: Callable[[Any], Tensor],
    thresholds: npt.NDArray[np.float64],
) -> Observation:
    """Run both halves on every image of the stream once and compare.

    Raises:
        ChildFaultError: Of kind `parity` if a board routes more than one image in twenty otherwise than the cluster.
    """
    stages: dict[str, list[int]] = {"normalise": [], "little": [], "big": []}
    routes, labels, mismatches, error = [], [], 0, 0.0
    for index, image in enumerate(stream.images):
        marks = [time.perf_counter_ns()]
        tensor = normalise(image)
        marks.append(time.perf_counter_ns())
        looked = pair.look(tensor)
        marks.append(time.perf_counter_ns())
        escalated = pair.escalate(looked)
        marks.append(time.perf_counter_ns())
        for name, before, after in zip(stages, marks, marks[1:], strict=False):
            stages[name].append(after - before)
        routes.append(int(looked.escalates))
        labels.append(int((escalated if looked.escalates else looked.logits).argmax()))
        error = max(error, abs(looked.score - float(stream.scores[index])))
        tied = abs(float(stream.scores[index]) - thresholds[looked.logits.argmax()]) <= _TIE
        mismatches += looked.escalates != bool(stream.routes[index]) and not tied
    agreement = 1 - mismatches / len(stream)
    if 1 - agreement > _MAX_PARITY_MISMATCH:
        raise ChildFaultError(
            "parity",
            f"{mismatches} of {len(stream)} images take another route than in the cluster (scores differ by up to "
            f"{error:.2g}); this onnxruntime computes another thing than the exporter did",
        )
    return Observation(
        routes=np.array(routes),
        labels=np.array(labels),
        agreement=agreement,
        max_score_error=error,
        stages_ms={name: float(np.median(times)) / 1e6 for name, times in stages.items()},
    )
