"""S5 and S6: what boards need not measure, replayed on halves that were really measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.progress import track

from cluster.benchmarks.halves import MeasuredHalf, measured_halves
from cluster.benchmarks.row import Row
from cluster.benchmarks.table import pair_curve, pair_halves, pairs
from edge_agent.records import Half
from nas_service.candidate import Candidate
from nas_service.choice_space import ChoiceSpace, Point
from nas_service.cost_predictor import fitted_predictor, quality_of
from nas_service.curve import Curve
from nas_service.front import Floats, adaptive_reference, hypervolume, non_dominated
from nas_service.front_query import HalfCost
from nas_service.job import parse_job
from nas_service.plan import PairPlan
from nas_service.search import make_searcher
from nas_service.tune.thrift import Thrift
from nas_service.valuation import priced, told_points

CLASS = "table"
OBJECTIVES = ("error", f"latency_ms@{CLASS}")
CANDIDATES = 200
BATCH = 5
SEEDS = 10
TRAINED_ON = 100
SPLITS = 10
SPEC = parse_job(
    {
        "kind": "search",
        "name": "S5",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 1},
        "strategy": {"name": "auto", "evaluations": CANDIDATES},
        "objectives": list(OBJECTIVES),
        "measurement": {"only": "promising"},
    }
)


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
        truth: The points (n, 2) of all candidates, as if all had been measured.
    """

    measured: int
    distinct: int
    candidates: int
    points: Floats
    truth: Floats


def frugality() -> list[Row]:
    """S5: halves measured by a search of 200 pairs over two for each, and the hypervolume that is kept.

    Kept of what its own candidates would have given, had all been measured; and, beside a search that measures all, of
    what that finds, though the two soon ask for different pairs: over seeds, one has more luck as often as the other.
    """
    board = _Board()
    ratios, own, other, distinct = [], [], [], []
    for seed in track(range(SEEDS), description="frugal searches", console=Console(stderr=True)):
        frugal, full = board.search(seed, frugal=True), board.search(seed, frugal=False)
        own.append(_kept(frugal.points, frugal.truth))
        other.append(_kept(frugal.points, full.points))
        ratios.append(frugal.measured / (2 * frugal.candidates))
        distinct.append(frugal.measured / full.measured)
    detail = (
        f"{CANDIDATES} pairs of a table of cascades trained on digits, error against measured latency, auto, {SEEDS} "
        f"seeds; every measurement takes as long, so halves are counted"
    )
    spent = f"{detail}; over measuring each different half once {np.mean(distinct):.2f}"
    rows = [Row(name="S5", figure="board time over measuring both halves of every candidate",
                value=float(np.mean(ratios)), must=0.35, aim=0.15, detail=spent)]  # fmt: skip
    for figure, kept in (
        ("hypervolume over that of all its candidates measured, mean", own),
        ("hypervolume over that of a search that measures every candidate, mean", other),
    ):
        said = f"{detail}; seed by seed {', '.join(f'{share:.3f}' for share in kept)}"
        rows.append(Row(name="S5", figure=figure, value=float(np.mean(kept)), must=0.98, least=True, detail=said))
    return rows


def _joined(front: Floats, points: Sequence[Point]) -> Floats:
    both = np.vstack([front, [[float(point[name]) for name in OBJECTIVES] for point in points]])
    return both[non_dominated(both)]


def _kept(points: Floats, truth: Floats) -> float:
    reference = adaptive_reference(np.vstack([points, truth]))
    return hypervolume(points, reference) / hypervolume(truth, reference)


class _Cascades:
    """The table's pairs, decoded as a search's space decodes its own."""

    def __init__(self) -> None:
        self.choices: ChoiceSpace = pairs().space
        self._littles, self._bigs = pair_halves()

    def indexes(self, x: Mapping[str, Any]) -> tuple[int, int]:
        """Return which little and which big a point stands for."""
        shape = [len(values) for values in self.choices.choices.values()]
        little, big = divmod(int(np.ravel_multi_index(self.choices.encode(x), shape)), len(self._bigs))
        return little, big

    def plan(self, x: Mapping[str, Any]) -> PairPlan:
        """Return a point's pair."""
        little, big = self.indexes(x)
        return PairPlan(coupling="independent", little=self._littles[little], big=self._bigs[big])


class _Board:
    """Answers with the figures of the table."""

    def __init__(self) -> None:
        self._cascades = _Cascades()
        rows = [row for row in measured_halves() if row.origin.startswith("digits/")]
        self._halves: dict[Half, dict[int, MeasuredHalf]] = {"little": {}, "big": {}}
        for row in rows:
            self._halves[row.structure.half][int(row.origin.partition("/")[2])] = row

    def search(self, seed: int, *, frugal: bool) -> Spent:
        """Return what one search measured and found."""
        space = self._cascades.choices
        searcher = make_searcher("auto", space, objectives=OBJECTIVES, seed=seed, budget=CANDIDATES)
        thrift = Thrift(SPEC, space=cast(Any, self._cascades))
        asked, measured, told = set[str](), set[str](), 0
        front = truth = np.empty((0, 2))
        while told < CANDIDATES and (batch := searcher.ask(BATCH)):
            answers = []
            for x in batch:
                candidate, costs = self._evaluated(x, number=told + 1)
                asked.update(candidate.structures.values())
                true_points = told_points(
                    priced(candidate, Curve.from_bytes(candidate.curve or b""), costs), OBJECTIVES, {}
                )
                truth = _joined(truth, true_points)
                points = thrift.believed(candidate, front.tolist()) if frugal else None
                if points is None:
                    thrift.learn(candidate, costs)
                    measured.update(candidate.structures.values())
                    points = true_points
                    front = _joined(front, points)
                answers.append((x, [{name: float(point[name]) for name in OBJECTIVES} for point in points]))
                told += 1
            searcher.tell(answers)
        return Spent(measured=len(measured), distinct=len(asked), candidates=told, points=front, truth=truth)

    def _evaluated(self, x: Point, *, number: int) -> tuple[Candidate, dict[str, dict[Half, HalfCost]]]:
        """Return a candidate with its curve, and what boards would find that its halves cost."""
        little, big = self._cascades.indexes(x)
        halves: dict[Half, MeasuredHalf] = {"little": self._halves["little"][little], "big": self._halves["big"][big]}
        candidate = Candidate(
            id=str(number), job_id="s5", number=number, strategy_index=0, strategy="auto", architecture=dict(x),
            phenotype=str(number), structures={half: f"{half} {row.origin}" for half, row in halves.items()},
            curve=pair_curve(little, big).to_bytes(), created_at=0.0,
        )  # fmt: skip
        return candidate, {CLASS: {half: HalfCost(latency_ms=row.min_ms) for half, row in halves.items()}}
