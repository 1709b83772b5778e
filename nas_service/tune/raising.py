"""Which candidates boards measure again at a higher tier: those that may be on the front, once they look so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas_service.front_query import FrontCandidate, HalfCost
from nas_service.job import JobSpec
from nas_service.promise import can_touch
from nas_service.valuation import told_points

SLACK = 0.05  # by what share a longer measurement may find a cost to be lower


def is_near_front(candidate: FrontCandidate, spec: JobSpec, front: Sequence[Sequence[float]]) -> bool:
    """Return whether a candidate is on the front, or would be if it cost 5 % less than its boards have measured.

    Args:
        candidate: With its curve and what boards have measured.
        spec: Its job.
        front: Points already had, in the order of the job's objectives.
    """
    cheaper = replace(candidate, boards={name: _cheaper(halves) for name, halves in candidate.boards.items()})
    points = told_points(cheaper, spec.objectives, spec.constraints)
    rows = [[float(point[name]) for name in spec.objectives] for point in points]
    return bool(rows) and can_touch(rows, front, gain=0.0)


def _cheaper(halves: Mapping[str, HalfCost]) -> dict[str, HalfCost]:
    def less(value: float | None) -> float | None:
        return None if value is None else value * (1 - SLACK)

    return {
        half: HalfCost(
            latency_ms=less(cost.latency_ms), energy_mj=less(cost.energy_mj), memory_kib=less(cost.memory_kib)
        )
        for half, cost in halves.items()
    }
