"""What the plots show, as numbers: fronts, the search's progress, training. Drawing them is somebody else's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.candidate import PREDICTED
from nas_service.front import adaptive_reference, bounds, non_dominated, normalised_hypervolume, thin_curve
from nas_service.report.data import HALVES, ReportCandidate, ReportData
from nas_service.search_spending import BUDGETS, spending

CURVE_POINTS = 48
FRONT_POINTS = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotPoint:
    """One candidate at one threshold: cost in the plot's unit, accuracy and escalation rate in percent."""

    candidate_id: str
    number: int
    coupling: str
    threshold: float | str
    cost: float
    accuracy: float
    escalated: float

    @property
    def mixes(self) -> bool:
        """Whether both routes answer some of the inputs."""
        return 0.0 < self.escalated < 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCurve:
    """A candidate's whole curve, thinned for drawing; the first point is its little alone, the last its big always."""

    candidate_id: str
    number: int
    coupling: str
    finalist: bool
    points: tuple[PlotPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPlot:
    """Accuracy against one expected cost: every curve, and the points of all curves that no other beats."""

    name: str
    title: str
    cost_label: str
    curves: tuple[PlotCurve, ...]
    front: tuple[PlotPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressPlot:
    """Share of the reachable hypervolume after each evaluation, against one budget.

    Attributes:
        budget: One of `nas_service.search_spending.BUDGETS`.
        spent: How much of it was spent after each evaluation.
        hypervolume: The shares then.
        strategies: (how much was spent when it began, name) of each strategy, in order.
        objectives: What the hypervolume is in.
    """

    budget: str
    spent: tuple[float, ...]
    hypervolume: tuple[float, ...]
    strategies: tuple[tuple[float, str], ...]
    objectives: tuple[str, ...]

    @property
    def label(self) -> str:
        """What people read."""
        return {"evaluations": "evaluations", "wall_s": "seconds since the search began", "board_s": "board seconds"}[
            self.budget
        ]

    @property
    def stretches(self) -> tuple[tuple[float, float, str], ...]:
        """(from, to, name) of each strategy, to the end of the axis."""
        half = 0.5 if self.budget == "evaluations" else 0.0
        starts = [start + half for start, _ in self.strategies]
        ends = [*starts[1:], self.spent[-1] + half]
        return tuple(zip(starts, ends, (name for _, name in self.strategies), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlot:
    """Figures by epoch: losses on one axis, everything else on the other; name -> (epoch, value)."""

    losses: dict[str, tuple[tuple[int, float], ...]]
    others: dict[str, tuple[tuple[int, float], ...]]


def front_plots(data: ReportData) -> tuple[FrontPlot, ...]:
    """Return accuracy against MACs, then against the latency of every class that was measured; none without curves."""
    plots = [_front_plot(data, None), *[_front_plot(data, board_class) for board_class in data.board_classes]]
    return tuple(plot for plot in plots if plot is not None)


def progress_plots(data: ReportData) -> tuple[ProgressPlot, ...]:
    """Return how the front's hypervolume grew with each budget that was spent; none of fewer than two evaluations.

    Every evaluation is seen against the same box, from the best figures of the whole search to a reference a little
    beyond its front's worst, so the last value tells how much of that box the final front covers. Candidates that
    failed, or were not measured to the end, were evaluated too.
    """
    ended = data.over
    shares = _shares([_told(candidate, data.objectives) for candidate in ended], width=len(data.objectives))
    if len(ended) < 2 or shares is None:
        return ()
    names = [c.strategy for c in ended]
    began = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    spent = spending(ended, board_s=_board_seconds(data))
    columns = {budget: tuple(float(getattr(one, budget)) for one in spent) for budget in BUDGETS}
    return tuple(
        ProgressPlot(
            budget=budget,
            spent=column,
            hypervolume=shares,
            strategies=tuple((column[i - 1] if i else 0.0, names[i]) for i in began),
            objectives=data.objectives,
        )
        for budget, column in columns.items()
        if column[-1] > 0
    )


def _shares(told: Sequence[Floats], *, width: int) -> tuple[float, ...] | None:
    """Return the share of the box after each candidate's points (n, `width`); None if there is no point at all."""
    if not any(map(len, told)):
        return None
    points = np.concatenate([rows for rows in told if len(rows)])
    reference, ideal = adaptive_reference(points), bounds(points)[0]
    archive, shares = np.empty((0, width)), []
    for rows in told:
        archive = np.concatenate([archive, rows])
        archive = archive[non_dominated(archive)] if len(archive) else archive
        shares.append(normalised_hypervolume(archive, reference, ideal) if len(archive) else 0.0)
    return tuple(shares)


def _board_seconds(data: ReportData) -> dict[str, float]:
    """Return what boards spent on each measurement since the job was made; what was known before cost it nothing."""
    seconds: dict[str, float] = {}
    for one in data.measurements:
        known = one.received_at is not None and data.created_at is not None and one.received_at < data.created_at
        if one.board_s is not None and not known:
            seconds[one.measurement_key] = seconds.get(one.measurement_key, 0.0) + one.board_s
    return seconds


def training_plot(data: ReportData) -> TrainingPlot | None:
    """Return the training's figures by epoch; None if there are none."""
    series: dict[str, list[tuple[int, float]]] = {}
    for point in sorted(data.training, key=lambda p: p.epoch):
        for name, value in sorted(point.figures.items()):
            series.setdefault(name, []).append((point.epoch, value))
    if not series:
        return None
    return TrainingPlot(
        losses={name: tuple(rows) for name, rows in series.items() if "loss" in name},
        others={name: tuple(rows) for name, rows in series.items() if "loss" not in name},
    )


def other_label(plot: TrainingPlot) -> str:
    """Return what the axis of a training plot that holds no losses is called."""
    return "accuracy, %" if plot.others and all("accuracy" in name for name in plot.others) else "figure"


def half_costs(data: ReportData, candidate: ReportCandidate, board_class: str | None) -> tuple[float, float] | None:
    """Return what the little always and the big on escalation cost, in millions of MACs or ms; None if not known."""
    if board_class is None:
        costs = candidate.costs
        known = "little_macs" in costs and "tail_macs" in costs
        return (costs["little_macs"] / 1e6, costs["tail_macs"] / 1e6) if known else None
    halves = [data.measurement(candidate, board_class, half) for half in HALVES]
    little, big = (None if half is None else half.mean_ms for half in halves)
    return None if little is None or big is None else (little, big)


def _front_plot(data: ReportData, board_class: str | None) -> FrontPlot | None:
    whole = [points for c in data.finished if (points := _points(data, c, board_class))]
    if not whole:
        return None
    every = [point for points in whole for point in points]
    rows = np.array([(100.0 - p.accuracy, p.cost) for p in every])
    best = np.flatnonzero(non_dominated(rows))
    _, first = np.unique(rows[best], axis=0, return_index=True)
    best = best[first]
    kept = best[thin_curve(rows[best], FRONT_POINTS)]
    finalists = {c.id for c in data.finalists}
    return FrontPlot(
        name="macs" if board_class is None else f"latency-{board_class}",
        title="Accuracy against expected MACs" if board_class is None else f"Accuracy against latency on {board_class}",
        cost_label="expected MACs per image, millions" if board_class is None else "expected latency per image, ms",
        curves=tuple(_curve(points, finalists) for points in whole),
        front=tuple(sorted((every[i] for i in kept), key=lambda p: (p.cost, p.accuracy))),
    )


def _points(data: ReportData, candidate: ReportCandidate, board_class: str | None) -> list[PlotPoint]:
    costs = half_costs(data, candidate, board_class)
    if candidate.curve is None or candidate.partial or costs is None:
        return []
    curve = candidate.curve
    return [
        PlotPoint(
            candidate_id=candidate.id,
            number=candidate.number,
            coupling=candidate.coupling,
            threshold=threshold,
            cost=costs[0] + rate * costs[1],
            accuracy=100.0 * accuracy,
            escalated=100.0 * rate,
        )
        for threshold, accuracy, rate in zip(curve.thresholds, curve.accuracy, curve.escalation_rate, strict=True)
    ]


def _curve(points: list[PlotPoint], finalists: set[str]) -> PlotCurve:
    """Thin a curve to points about evenly spaced in escalation rate; its ends always stay."""
    rates = np.array([p.escalated for p in points])
    wanted = np.linspace(rates[0], rates[-1], CURVE_POINTS)
    kept = sorted({0, len(points) - 1, *np.searchsorted(rates, wanted).clip(0, len(points) - 1).tolist()})
    first = points[0]
    return PlotCurve(
        candidate_id=first.candidate_id,
        number=first.number,
        coupling=first.coupling,
        finalist=first.candidate_id in finalists,
        points=tuple(points[i] for i in kept),
    )


def _told(candidate: ReportCandidate, objectives: tuple[str, ...]) -> Floats:
    told = () if candidate.partial else candidate.values
    rows = [[point[name] for name in objectives] for point in told if _measured(point, objectives)]
    return np.array(rows, dtype=np.float64).reshape(-1, len(objectives))


def _measured(point: Mapping[str, float | str], objectives: tuple[str, ...]) -> bool:
    """Return whether a told point has every objective, and none of them predicted."""
    return PREDICTED not in point and all(name in point for name in objectives)
