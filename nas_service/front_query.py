"""The front that was asked for: finished candidates and their measurements in, the points worth having out.

A point is one candidate at one threshold. What was not measured is absent from a point; a point that lacks an
objective of the front, or a quantity that a limit is set on, takes no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_agent.records import Half
from nas_service.curve import Curve, Threshold
from nas_service.errors import InvalidRequestError
from nas_service.front import non_dominated

Floats: TypeAlias = NDArray[np.float64]

HALVES: tuple[Half, Half] = ("little", "big")

_STATIC_COSTS = ("worst_macs", "params", "weights_kib")

_SLACK = 1e-9  # 1 - accuracy rounds; a point that reaches the limit exactly keeps it


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfCost:
    """What one half costs on one board class, per inference; None where it was not measured."""

    latency_ms: float | None = None
    energy_mj: float | None = None
    memory_kib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrontCandidate:
    """A finished candidate, as far as fronts need it.

    Attributes:
        costs: what its layers cost, by name: `little_macs`, `tail_macs` (what escalation adds), `worst_macs`, ...
        boards: board class -> half (`little`, `big`) -> its cost there.
    """

    id: str
    number: int
    coupling: str
    curve: Curve
    costs: Mapping[str, float]
    boards: Mapping[str, Mapping[str, HalfCost]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One operating point on a front: its candidate, its threshold, and every quantity that is known of it.

    `accuracy` and `escalation_rate` are shares in [0, 1]; units of `values` are in their names, `error` is in percent.
    """

    candidate_id: str
    number: int
    coupling: str
    threshold: Threshold
    accuracy: float
    escalation_rate: float
    values: Mapping[str, float]

    @property
    def routes(self) -> dict[str, float]:
        """The share of inputs that each route answers."""
        return {"little": 1.0 - self.escalation_rate, "big": self.escalation_rate}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontQuery:
    """What is asked of a front: the objectives (all minimised), a board class, and limits that points must keep.

    `min_accuracy` is a share in [0, 1]; the objective `error` is in percent.
    """

    objectives: tuple[str, ...]
    board: str | None = None
    max_latency_ms: float | None = None
    max_energy_mj: float | None = None
    max_memory_kib: float | None = None
    min_accuracy: float | None = None

    def limits(self) -> dict[str, float]:
        """The upper limits by name of quantity, without the board class."""
        every = {
            "latency_ms": self.max_latency_ms,
            "energy_mj": self.max_energy_mj,
            "memory_kib": self.max_memory_kib,
        }
        return {name: limit for name, limit in every.items() if limit is not None}


def front_points(candidates: Iterable[FrontCandidate], query: FrontQuery) -> tuple[str, list[FrontPoint]]:
    """Return the front's cost axis (`macs`, `latency_ms@CLASS`, ...) and its points, cheapest first.

    Raises:
        InvalidRequestError: the board class has no measurement here, or a limit needs one to be chosen.
    """
    every = list(candidates)
    measured = board_classes(every)
    if query.board is not None and query.board not in measured:
        raise InvalidRequestError(f"board: {query.board!r} has no measurement in this job; {_choice(measured)}")
    objectives = front_objectives(query.objectives, query.board)
    limits = _upper_limits(query, measured)
    axis = next((name for name in objectives if name != "error"), "macs")
    found = [(c, i, row) for c in every for i, row in _worthwhile(c, objectives, limits)]
    if not found:
        return axis, []
    unique: dict[tuple[float, ...], FrontPoint] = {}
    for (candidate, index, row), keep in zip(found, non_dominated([row for _, _, row in found]), strict=True):
        if keep and row not in unique:
            unique[row] = _point(candidate, index)
    return axis, sorted(unique.values(), key=lambda p: (p.values.get(axis, 0.0), p.values["error"]))


def front_objectives(objectives: Sequence[str], board: str | None) -> tuple[str, ...]:
    """Return what a front is minimal in: the job's objectives, or on a board, error, latency and the job's there."""
    if board is None:
        return tuple(objectives)
    return tuple(dict.fromkeys(["error", f"latency_ms@{board}", *(o for o in objectives if o.endswith(f"@{board}"))]))


def board_classes(candidates: Iterable[FrontCandidate]) -> list[str]:
    """Return the classes that these candidates were measured on, in order of name."""
    return sorted({board_class for candidate in candidates for board_class in candidate.boards})


def curve_values(candidate: FrontCandidate) -> dict[str, Floats]:
    """Return every known quantity of the candidate at each of its thresholds: name -> (n,)."""
    curve, costs = candidate.curve, candidate.costs
    whole = np.ones_like(curve.escalation_rate)
    values = {"error": 100.0 * (1.0 - curve.accuracy)}
    if "little_macs" in costs and "tail_macs" in costs:
        values["macs"] = curve.expected_cost(costs["little_macs"], costs["tail_macs"])
    values |= {name: costs[name] * whole for name in _STATIC_COSTS if name in costs}
    for board_class, halves in candidate.boards.items():
        little, big = (halves.get(half, HalfCost()) for half in HALVES)
        if little.latency_ms is not None and big.latency_ms is not None:
            values[f"latency_ms@{board_class}"] = curve.expected_cost(little.latency_ms, big.latency_ms)
            values[f"worst_latency_ms@{board_class}"] = (little.latency_ms + big.latency_ms) * whole
        if little.energy_mj is not None and big.energy_mj is not None:
            values[f"energy_mj@{board_class}"] = curve.expected_cost(little.energy_mj, big.energy_mj)
        if little.memory_kib is not None and big.memory_kib is not None:
            values[f"memory_kib@{board_class}"] = (little.memory_kib + big.memory_kib) * whole
    return values


def _choice(measured: Sequence[str]) -> str:
    if not measured:
        return "no candidate of it has been measured on a board yet, so leave the board and its limits out"
    return f"choose one of: {', '.join(measured)}"


def _upper_limits(query: FrontQuery, measured: Sequence[str]) -> dict[str, float]:
    limits = {"error": 100.0 * (1.0 - query.min_accuracy)} if query.min_accuracy is not None else {}
    on_board = query.limits()
    if not on_board:
        return limits
    named = sorted({name.partition("@")[2] for name in query.objectives if "@" in name})
    choices = [query.board] if query.board is not None else named or list(measured)
    if len(choices) != 1:
        raise InvalidRequestError(
            f"board: max_{next(iter(on_board))} holds for one board class, and none was given; {_choice(measured)}"
        )
    return limits | {f"{name}@{choices[0]}": limit for name, limit in on_board.items()}


def _worthwhile(
    candidate: FrontCandidate, objectives: Sequence[str], limits: Mapping[str, float]
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield the candidate's own front within the limits: index on its curve, and objectives."""
    values = curve_values(candidate)
    if any(name not in values for name in (*objectives, *limits)):
        return
    allowed = np.ones(len(candidate.curve.thresholds), dtype=np.bool_)
    for name, limit in limits.items():
        allowed &= values[name] <= limit + _SLACK * abs(limit)
    rows = np.column_stack([np.where(allowed, values[name], np.nan) for name in objectives])
    for index in np.flatnonzero(non_dominated(rows)):
        yield int(index), tuple(rows[index].tolist())


def _point(candidate: FrontCandidate, index: int) -> FrontPoint:
    curve = candidate.curve
    return FrontPoint(
        candidate_id=candidate.id,
        number=candidate.number,
        coupling=candidate.coupling,
        threshold=curve.threshold(index),
        accuracy=float(curve.accuracy[index]),
        escalation_rate=float(curve.escalation_rate[index]),
        values={name: float(column[index]) for name, column in curve_values(candidate).items()},
    )
