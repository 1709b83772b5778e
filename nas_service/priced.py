"""Candidates as fronts need them: curves decoded, and their halves' figures looked up among the boards' results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_agent.records import Half
from nas_service.candidate import Candidate
from nas_service.curve import Curve
from nas_service.front_query import HALVES, FrontCandidate, HalfCost
from nas_service.measurement import RequestState
from nas_service.store.fleet import FleetStore
from nas_service.valuation import half_cost, priced


def priced_candidates(candidates: Sequence[Candidate], measured: FleetStore) -> list[FrontCandidate]:
    """Return those of `candidates` that have a curve, with every figure that boards have answered."""
    curves = {c.id: Curve.from_bytes(c.curve) for c in candidates if c.curve is not None}
    keys = {key for c in candidates for halves in c.measurements.values() for key in halves.values()}
    states = measured.states(sorted(keys))
    return [_priced(c, curves[c.id], states) for c in candidates if c.id in curves]


def _priced(candidate: Candidate, curve: Curve, states: Mapping[str, RequestState]) -> FrontCandidate:
    boards: dict[str, dict[Half, HalfCost]] = {}
    for board_class, keys in candidate.measurements.items():
        for half in HALVES:
            state = states.get(keys.get(half, ""))
            if state is not None and state.result is not None and state.result.status == "ok":
                boards.setdefault(board_class, {})[half] = half_cost(state.result)
    return priced(candidate, curve, boards)
