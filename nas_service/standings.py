"""What a comparison shows: hypervolume against budget with intervals over seeds, ranks, and what each strategy found.

All archives are measured against one box, which is fixed from the union of them before any is looked at by itself: its
ideal corner is the best figure that anybody found in each objective, its reference the worst of the union's front and a
tenth of the front's span further out. Every objective counts as a share of the box, so units do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas_service.comparison import Comparison, Run
from nas_service.front import (
    CurvePoint,
    Floats,
    Front,
    adaptive_reference,
    bounds,
    non_dominated,
    normalised_hypervolume,
)
from nas_service.seed_statistics import MeanInterval, friedman_p, holm, mean_interval, ranks, wilcoxon_p

BUDGETS = ("evaluations", "seconds", "board_s")
STEPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What hypervolumes are shares of; one number for each objective."""

    ideal: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One strategy at the end.

    Attributes:
        strategy: Its name.
        final: Mean of its runs' hypervolumes at the last evaluation that all have, as shares of the box.
        by_seed: Those hypervolumes by seed.
        rank: Mean over seeds of its rank by hypervolume, 1 the best; None if not every strategy has every seed.
        front: What it found over all seeds.
        on_joint_front: How many points of everybody's front are its own.
        p_to_best: Wilcoxon's p, corrected by Holm, against the strategy of the highest mean; None where seeds are few.
    """

    strategy: str
    final: MeanInterval
    by_seed: dict[int, float]
    rank: float | None
    front: Front
    on_joint_front: int
    p_to_best: float | None = None


class Standings:
    """A comparison, judged.

    Args:
        comparison: Its runs.
        objectives: What the points are in.
    """

    def __init__(self, comparison: Comparison, *, objectives: Sequence[str]) -> None:
        self.comparison, self.objectives = comparison, tuple(objectives)

    @cached_property
    def box(self) -> Box | None:
        """The box of all archives together; None before anything was found."""
        charged = {c.candidate_id for run in self.comparison.runs.values() for c in run.charges}
        rows = [np.array(points) for key, points in self.comparison.points.items() if points and key in charged]
        if not rows:
            return None
        union = np.concatenate(rows)
        ideal, reference = bounds(union)[0], adaptive_reference(union)
        return Box(ideal=tuple(ideal.tolist()), reference=tuple(reference.tolist()))

    @cached_property
    def volumes(self) -> dict[int, Floats]:
        """Run -> (charges,) hypervolume after each of its charges, as a share of the box."""
        return {index: self._volumes(run) for index, run in self.comparison.runs.items()}

    def _volumes(self, run: Run) -> Floats:
        box = self.box
        found: list[float] = []
        archive = np.empty((0, len(self.objectives)))
        for charge in run.charges:
            points = self.comparison.points.get(charge.candidate_id, ())
            if points:
                archive = np.concatenate([archive, np.array(points)])
                archive = archive[non_dominated(archive)]
            share = normalised_hypervolume(archive, box.reference, box.ideal) if box and len(archive) else 0.0
            found.append(share)
        return np.array(found)

    @cached_property
    def common(self) -> int:
        """Evaluations that every run has, at which strategies are judged; runs without any, as yet, are left out."""
        return min((len(run.charges) for run in self.comparison.runs.values() if run.charges), default=0)

    def spent(self, run: Run, budget: str) -> Floats:
        """Return what a run had spent of a budget (charges,) after each charge; training comes before the first."""
        if budget == "evaluations":
            return np.arange(1, len(run.charges) + 1, dtype=np.float64)
        if budget == "board_s":
            return np.cumsum([c.board_s for c in run.charges])
        began = 0.0 if run.training is None else run.training.seconds
        return began + np.cumsum([c.seconds + c.asking_s for c in run.charges])

    def curve(self, strategy: str, budget: str) -> list[tuple[float, MeanInterval]]:
        """Return (spent, hypervolume over seeds) of a strategy, as far as all of its runs have come."""
        runs = [run for run in self.comparison.of_strategy(strategy) if run.charges]
        if not runs:
            return []
        spent = {run.index: self.spent(run, budget) for run in runs}
        end = min(float(s[-1]) for s in spent.values())
        if budget == "evaluations":
            grid = np.arange(1, int(end) + 1, dtype=np.float64)
        else:
            grid = np.linspace(0.0, end, STEPS + 1)
        return [
            (float(at), mean_interval([_at(self.volumes[run.index], spent[run.index], float(at)) for run in runs]))
            for at in grid
        ]

    @cached_property
    def final(self) -> dict[str, dict[int, float]]:
        """Strategy -> seed -> hypervolume at `common` evaluations."""
        runs = self.comparison.runs.values()
        found: dict[str, dict[int, float]] = {name: {} for name in self.comparison.strategies}
        for run in runs:
            if run.charges:
                found[run.strategy][run.seed] = float(self.volumes[run.index][self.common - 1])
        return {name: dict(sorted(by_seed.items())) for name, by_seed in found.items() if by_seed}

    @cached_property
    def scores(self) -> Floats | None:
        """(seeds, strategies) hypervolumes; None as long as a strategy lacks a seed."""
        seeds = {tuple(by_seed) for by_seed in self.final.values()}
        if len(seeds) != 1 or len(self.final) < 2:
            return None
        return np.array([list(by_seed.values()) for by_seed in self.final.values()]).T

    @property
    def seeds(self) -> int:
        """Seeds that all strategies have been run with; 0 as long as they differ."""
        return 0 if self.scores is None else len(self.scores)

    @property
    def friedman(self) -> float | None:
        """Friedman's p that all strategies are alike; None where seeds or strategies are too few to tell."""
        return None if self.scores is None else friedman_p(self.scores)

    @cached_property
    def joint_front(self) -> Front:
        """The front of everything that anybody found."""
        return self._front([run for run in self.comparison.runs.values()])

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """The strategies, the best mean rank first, then the highest hypervolume."""
        ranked = dict.fromkeys(self.final) if self.scores is None else dict(
            zip(self.final, ranks(self.scores).mean(axis=0).tolist(), strict=True)
        )  # fmt: skip
        joint = {(p.candidate_id, p.values) for p in self.joint_front.points}
        against = self._against_best()
        found = []
        for name, by_seed in self.final.items():
            front = self._front(self.comparison.of_strategy(name))
            own = sum((p.candidate_id, p.values) in joint for p in front.points)
            found.append(
                Standing(
                    strategy=name,
                    final=mean_interval(list(by_seed.values())),
                    by_seed=by_seed,
                    rank=ranked[name],
                    front=front,
                    on_joint_front=own,
                    p_to_best=against.get(name),
                )
            )
        return tuple(sorted(found, key=lambda s: (s.rank or 0.0, -s.final.mean, s.strategy)))

    def _against_best(self) -> dict[str, float]:
        if self.scores is None:
            return {}
        names, means = list(self.final), self.scores.mean(axis=0)
        best = int(means.argmax())
        tested = {
            name: p
            for i, name in enumerate(names)
            if i != best and (p := wilcoxon_p((self.scores[:, best] - self.scores[:, i]).tolist())) is not None
        }
        return dict(zip(tested, holm(list(tested.values())), strict=True))

    def _front(self, runs: Sequence[Run]) -> Front:
        keys = dict.fromkeys(c.candidate_id for run in runs for c in run.charges)
        points = [
            CurvePoint(candidate_id=key, values=values)
            for key in keys
            for values in self.comparison.points.get(key, ())
        ]
        return Front.of(points, objectives=self.objectives)


def interval_text(interval: MeanInterval) -> str:
    """Return a share's mean in percent with its interval."""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.mean:.1f} %"
    return f"{100 * interval.mean:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def standing_row(standing: Standing) -> list[str]:
    """Return a strategy as the command line shows it: name, mean rank, hypervolume, points on the front of all."""
    rank = "-" if standing.rank is None else f"{standing.rank:.2f}"
    own = f"{standing.on_joint_front} of {len(standing.front.points)}"
    return [standing.strategy, rank, interval_text(standing.final), own]


def _at(volumes: Floats, spent: Floats, at: float) -> float:
    """Return the hypervolume of a run when it had spent `at`; 0 before its first evaluation was paid."""
    done = int(np.searchsorted(spent, at + 1e-9, side="right"))
    return float(volumes[done - 1]) if done else 0.0
