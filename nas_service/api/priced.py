"""Candidates as fronts need them: curves decoded, and their halves' figures looked up among the boards' results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas_service.candidate import Candidate
from nas_service.curve import Curve
from nas_service.front_query import FrontCandidate, HalfCost
from nas_service.measurement import RequestState
from nas_service.store.fleet import FleetStore
from nas_service.valuation import half_cost


def priced_candidates(candidates: Sequence[Candidate], measured: FleetStore) -> list[FrontCandidate]:
    """Return those of `candidates` that have a curve, with every figure that boards have answered."""
    curves = {c.id: Curve.from_bytes(c.curve) for c in candidates if c.curve is not None}
    keys = {key for c in candidates for halves in c.measurements.values() for key in halves.values()}
    states = measured.states(sorted(keys))
    return [_priced(c, curves[c.id], states) for c in candidates if c.id in curves]


def _priced(candidate: Candidate, curve: Curve, states: Mapping[str, RequestState]) -> FrontCandidate:
    boards: dict[str, dict[str, HalfCost]] = {}
    for board_class, halves in candidate.measurements.items():
        found = {half: states[key] for half, key in halves.items() if key in states}
        costs = {
            half: half_cost(s.result) for half, s in found.items() if s.result is not None and s.result.status == "ok"
        }
        if costs:
            boards[board_class] = costs
    return FrontCandidate(
        id=candidate.id,
        number=candidate.number,
        coupling=str(candidate.architecture.get("coupling", "independent")),
        curve=curve,
        costs=candidate.costs,
        boards=boards,
    )
