"""What a searcher is told of a candidate: its curve, priced by layers and boards, thinned to the useful points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.records import Half, Result
from nas_service.candidate import Candidate
from nas_service.curve import Curve
from nas_service.front import thin_curve
from nas_service.front_query import FrontCandidate, HalfCost, curve_values

Point = dict[str, float | str]


def priced(candidate: Candidate, curve: Curve, boards: Mapping[str, Mapping[Half, HalfCost]]) -> FrontCandidate:
    """Return a candidate as fronts need it.

    Args:
        candidate: What its layers cost.
        curve: Its curve, decoded.
        boards: What its halves cost, by board class.
    """
    return FrontCandidate(
        id=candidate.id,
        number=candidate.number,
        coupling=str(candidate.architecture.get("coupling", "independent")),
        curve=curve,
        costs=candidate.costs,
        boards={c: {str(half): cost for half, cost in found.items()} for c, found in boards.items()},
    )


def told_points(
    candidate: FrontCandidate, objectives: Sequence[str], constraints: Mapping[str, float]
) -> tuple[Point, ...]:
    """Return the non-dominated points of a candidate's curve that meet the constraints, at most 32, with thresholds.

    Empty if an objective was not measured or no threshold meets the constraints.
    """
    values, curve = curve_values(candidate), candidate.curve
    if any(name not in values for name in (*objectives, *constraints)):
        return ()
    allowed = np.ones(len(curve.thresholds), dtype=np.bool_)
    for name, bound in constraints.items():
        allowed &= values[name] <= bound
    rows = np.column_stack([np.where(allowed, values[name], np.nan) for name in objectives])
    return tuple(
        {**{name: float(values[name][i]) for name in objectives}, "threshold": curve.threshold(int(i))}
        for i in thin_curve(rows)
    )


def half_cost(result: Result) -> HalfCost:
    """Return what one measured half costs per inference."""
    energy = result.energy.gross_mj if result.energy is not None else None
    return HalfCost(
        latency_ms=None if result.latency is None else result.latency.mean_ms,
        energy_mj=energy,
        memory_kib=None if result.memory is None else float(result.memory.memory_kib),
    )
