"""S5 and S6: what boards need not measure, replayed on halves that were really measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from cluster.benchmarks.halves import MeasuredHalf, measured_halves
from cluster.benchmarks.row import Row
from cluster.benchmarks.table import pair_curve, pairs
from edge_agent.records import Half
from nas_service.choice_space import ChoiceSpace, Point
from nas_service.cost_predictor import fitted_predictor, quality_of
from nas_service.curve import Curve
from nas_service.foresight import Foreseen, Foresight
from nas_service.front import Floats, adaptive_reference, hypervolume, non_dominated, thin_curve
from nas_service.front_query import HalfCost
from nas_service.promise import can_touch
from nas_service.search import make_searcher

OBJECTIVES = ("error", "latency_ms")
CANDIDATES = 200
BATCH = 5
SEEDS = 3
TRAINED_ON = 100
SPLITS = 10


def predictor() -> list[Row]:
    """S6: halves of `tiny` and `small` predicted from 100 others, over ten random splits; Kendall's tau beside it."""
    rows = [row for row in measured_halves() if not row.origin.startswith("digits/")]
    structures, truth = [row.structure for row in rows], np.array([row.min_ms for row in rows])
    found = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(rows))
        known, left_out = order[:TRAINED_ON], order[TRAINED_ON:]
        fit = fitted_predictor([structures[i] for i in known], list(truth[known]))
        found.append(quality_of(fit.predict([structures[i] for i in left_out])[0], truth[left_out]))
    within, mape, tau = (float(np.mean([getattr(q, name) for q in found])) for name in ("within", "mape", "tau"))
    detail = (
        f"{len(rows)} halves of tiny and small, {truth.min():.3f} to {truth.max():.2f} ms, onnxruntime, one thread, "
        f"least of single inferences; {TRAINED_ON} learnt from, the others predicted, mean of {SPLITS} random splits; "
        f"mean error {mape:.1%}"
    )
    return [
        Row(name="S6", figure="latency within 10 %", value=within, must=0.9, aim=0.95, least=True, detail=detail),
        Row(name="S6", figure="latency, Kendall's tau", value=tau, must=0.9, aim=0.95, least=True, detail=detail),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one search measured and found.

    Attributes:
        measured: Halves that boards measured.
        distinct: Different halves of all candidates.
        candidates: Candidates told.
        points: Measured points (n, 2) of the candidates all of whose halves were measured.
    """

    measured: int
    distinct: int
    candidates: int
    points: Floats


def frugality() -> list[Row]:
    """S5: halves measured by a search of 200 pairs over two for each, and the hypervolume that is kept."""
    board = _Board()
    ratios, kept, distinct = [], [], []
    for seed in track(range(SEEDS), description="frugal searches", console=Console(stderr=True)):
        frugal, full = board.search(seed, frugal=True), board.search(seed, frugal=False)
        reference = adaptive_reference(np.vstack([frugal.points, full.points]))
        kept.append(hypervolume(frugal.points, reference) / hypervolume(full.points, reference))
        ratios.append(frugal.measured / (2 * frugal.candidates))
        distinct.append(frugal.measured / full.measured)
    shown = ", ".join(f"{share:.3f}" for share in kept)
    detail = (
        f"{CANDIDATES} pairs of a table of cascades trained on digits, error against measured latency, auto, {SEEDS} "
        f"seeds; every measurement takes as long, so halves are counted; hypervolume kept {shown}; over measuring each "
        f"different half once {np.mean(distinct):.2f}"
    )
    rows = [Row(name="S5", figure="board time over measuring both halves of every candidate",
                value=float(np.mean(ratios)), must=0.35, aim=0.15, detail=detail)]  # fmt: skip
    figure = "hypervolume over that of measuring every candidate, worst seed"
    return [*rows, Row(name="S5", figure=figure, value=min(kept), must=0.98, least=True, detail=detail)]


class _Board:
    """Answers with the figures of the table."""

    def __init__(self) -> None:
        self._space: ChoiceSpace = pairs().space
        rows = [row for row in measured_halves() if row.origin.startswith("digits/")]
        self._halves: dict[Half, dict[int, MeasuredHalf]] = {"little": {}, "big": {}}
        for row in rows:
            self._halves[row.structure.half][int(row.origin.partition("/")[2])] = row

    def search(self, seed: int, *, frugal: bool) -> Spent:
        """Return what one search measured and found."""
        searcher = make_searcher("auto", self._space, objectives=OBJECTIVES, seed=seed, budget=CANDIDATES)
        foresight, asked, front, told = Foresight(quantities=OBJECTIVES[1:]), set[str](), np.empty((0, 2)), 0
        while told < CANDIDATES and (batch := searcher.ask(BATCH)):
            answers = []
            for x in batch:
                little, big = self._pair(x)
                names = (f"little {little.origin}", f"big {big.origin}")
                asked.update(names)
                curve = pair_curve(*(int(half.origin.partition("/")[2]) for half in (little, big)))
                beliefs = [foresight.foresee(n, h.structure) for n, h in zip(names, (little, big), strict=True)]
                points = _worth_measuring(curve, beliefs, front) if frugal else None
                if points is None:
                    for name, half in zip(names, (little, big), strict=True):
                        foresight.learn(name, half.structure, HalfCost(latency_ms=half.min_ms))
                    points = _points(curve, little.min_ms, big.min_ms)
                    front = np.vstack([front, points])
                    front = front[non_dominated(front)]
                answers.append((x, [dict(zip(OBJECTIVES, map(float, p), strict=True)) for p in points]))
                told += 1
            searcher.tell(answers)
        known = [name for name in asked if foresight.measured(name) is not None]
        return Spent(measured=len(known), distinct=len(asked), candidates=told, points=front)

    def _pair(self, x: Point) -> tuple[MeasuredHalf, MeasuredHalf]:
        shape = [len(values) for values in self._space.choices.values()]
        index = int(np.ravel_multi_index(self._space.encode(x), shape))
        little, big = divmod(index, len(self._halves["big"]))
        return self._halves["little"][little], self._halves["big"][big]


def _worth_measuring(curve: Curve, beliefs: Sequence[Foreseen | None], front: Floats) -> Floats | None:
    """Return None for a pair that boards are to measure, else the points that it is believed to have."""
    little, big = beliefs
    if little is None or big is None or (little.measured and big.measured):
        return None
    if can_touch(_points(curve, _ms(little.least), _ms(big.least)), front):
        return None
    return _points(curve, _ms(little.cost), _ms(big.cost))


def _ms(cost: HalfCost) -> float:
    return float(cost.latency_ms or 0.0)


def _points(curve: Curve, little_ms: float, big_ms: float) -> Floats:
    points = np.stack([100 * (1 - curve.accuracy), curve.expected_cost(little_ms, big_ms)], axis=1)
    return np.asarray(points[thin_curve(points)], dtype=np.float64)
