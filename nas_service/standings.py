"""What a comparison shows: hypervolume against budget with intervals over seeds, ranks, and what each strategy found.

All archives are measured against one box, which is fixed from the union of them before any is looked at by itself: its
ideal corner is the best figure that anybody found in each objective, its reference the worst of the union's front and a
tenth of the front's span further out. Every objective counts as a share of the box, so units do not matter.

A run that had nothing more to ask for before its budget was spent ends early: what it had found by then is what it has
at every later budget.
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
        final: Mean of its runs' hypervolumes at the evaluations that strategies are judged at, as shares of the box.
        by_seed: Those hypervolumes by seed.
        evaluations: What its runs were charged of them, by seed; fewer where a run ended early.
        rank: Mean over seeds of its rank by hypervolume, 1 the best; None if not every strategy has every seed.
        front: What it found over all seeds.
        on_joint_front: How many points of everybody's front are its own.
        p_to_best: Wilcoxon's p, corrected by Holm, against the strategy of the highest mean; None where seeds are few.
    """

    strategy: str
    final: MeanInterval
    by_seed: dict[int, float]
    evaluations: dict[int, int]
    rank: float | None
    front: Front
    on_joint_front: int
    p_to_best: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """How strategies stood when each of their runs had spent `at` of a budget.

    Attributes:
        budget: One of `BUDGETS`.
        at: How much of it.
        found: Strategy -> mean over seeds of the hypervolume by then.
        ranks: Strategy -> mean over seeds of its rank by then; empty as long as a strategy lacks a seed.
    """

    budget: str
    at: float
    found: dict[str, float]
    ranks: dict[str, float]


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
        """Evaluations that every run has; runs without any, as yet, are left out."""
        return min((len(run.charges) for run in self._runs), default=0)

    @cached_property
    def judged(self) -> int:
        """Evaluations at which strategies are judged: the full budget once all are through, `common` until then."""
        if not self.comparison.over:
            return self.common
        return max((len(run.charges) for run in self._runs), default=0)

    @property
    def _runs(self) -> list[Run]:
        """The runs that count: those that have begun, and in the end also one that found nothing to evaluate."""
        return [run for run in self.comparison.runs.values() if run.charges or self.comparison.over]

    def ended_early(self, run: Run) -> bool:
        """Return whether a run had nothing more to ask for before its budget was spent."""
        return self.comparison.over and len(run.charges) < self.judged

    def flat_from(self, strategy: str, budget: str) -> float | None:
        """Return what a strategy's last run had spent when it ended, if all of them ended early; else None."""
        runs = self.comparison.of_strategy(strategy)
        if not all(map(self.ended_early, runs)):
            return None
        return max((self._end(run, budget) for run in runs), default=None)

    def spent(self, run: Run, budget: str) -> Floats:
        """Return what a run had spent of a budget (charges,) after each charge; training comes before the first."""
        if budget == "evaluations":
            return np.arange(1, len(run.charges) + 1, dtype=np.float64)
        if budget == "board_s":
            return np.cumsum([c.board_s for c in run.charges])
        began = 0.0 if run.training is None else run.training.seconds
        return began + np.cumsum([c.seconds + c.asking_s for c in run.charges])

    def curve(self, strategy: str, budget: str) -> list[tuple[float, MeanInterval]]:
        """Return (spent, hypervolume over seeds) of a strategy, as far as all of its runs have come.

        A run that ended early goes as far as any of any strategy.
        """
        runs = [run for run in self.comparison.of_strategy(strategy) if run in self._runs]
        if not runs:
            return []
        longest = max(self._end(run, budget) for run in self._runs)
        end = min(longest if self.ended_early(run) else self._end(run, budget) for run in runs)
        if budget == "evaluations":
            grid = np.arange(1, int(end) + 1, dtype=np.float64)
        else:
            grid = np.linspace(0.0, end, STEPS + 1)
        return [(float(at), mean_interval([self._found(run, budget, float(at)) for run in runs])) for at in grid]

    def _found(self, run: Run, budget: str, at: float) -> float:
        """Return the hypervolume of a run when it had spent `at`; 0 before its first evaluation was paid."""
        done = int(np.searchsorted(self.spent(run, budget), at + 1e-9, side="right"))
        return float(self.volumes[run.index][done - 1]) if done else 0.0

    def _end(self, run: Run, budget: str) -> float:
        return float(self.spent(run, budget)[-1]) if run.charges else 0.0

    @cached_property
    def final(self) -> dict[str, dict[int, float]]:
        """Strategy -> seed -> hypervolume at `judged` evaluations."""
        return self._by_seed("evaluations", float(self.judged))

    def _by_seed(self, budget: str, at: float) -> dict[str, dict[int, float]]:
        found: dict[str, dict[int, float]] = {name: {} for name in self.comparison.strategies}
        for run in self._runs:
            found[run.strategy][run.seed] = self._found(run, budget, at)
        return {name: dict(sorted(by_seed.items())) for name, by_seed in found.items() if by_seed}

    @cached_property
    def milestones(self) -> tuple[Milestone, ...]:
        """How strategies stood earlier, and at equal cost, by budget and then by how much of it was spent.

        At a quarter, at half and at all of the evaluations that they are judged at, and at those that all have; and at
        the least that any run spent in all, in seconds and in board seconds.
        """
        whole = self.judged
        places = [("evaluations", float(n)) for n in sorted({self.common, -(-whole // 4), -(-whole // 2), whole})]
        places += [(name, min((self._end(run, name) for run in self._runs), default=0.0)) for name in BUDGETS[1:]]
        return tuple(self._milestone(budget, at) for budget, at in places if at > 0)

    def _milestone(self, budget: str, at: float) -> Milestone:
        by_seed = self._by_seed(budget, at)
        scores = _scores(by_seed)
        mean_ranks = [] if scores is None else ranks(scores).mean(axis=0).tolist()
        found = {name: float(np.mean(list(values.values()))) for name, values in by_seed.items()}
        return Milestone(budget=budget, at=at, found=found, ranks=dict(zip(by_seed, mean_ranks, strict=False)))

    @cached_property
    def scores(self) -> Floats | None:
        """(seeds, strategies) hypervolumes; None as long as a strategy lacks a seed."""
        return _scores(self.final)

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
                    evaluations={run.seed: len(run.charges) for run in self.comparison.of_strategy(name)},
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


def evaluations_text(standing: Standing) -> str:
    """Return how many evaluations each run of a strategy was charged: a number, or the least and the most."""
    least, most = min(standing.evaluations.values()), max(standing.evaluations.values())
    return str(most) if least == most else f"{least} to {most}"


def final_text(standings: Standings) -> str:
    """Return what everybody found in the end in a line, and who ended early."""
    shown = []
    for standing in standings.standings:
        early = any(map(standings.ended_early, standings.comparison.of_strategy(standing.strategy)))
        mark = f" (ended after {evaluations_text(standing)})" if early else ""
        shown.append(f"{standing.strategy} {100 * standing.final.mean:.1f} %{mark}")
    return f"hypervolume after {standings.judged} evaluations: {', '.join(shown)}"


def standing_row(standing: Standing) -> list[str]:
    """Return a strategy for the command line: name, mean rank, evaluations, hypervolume, points on the joint front."""
    rank = "-" if standing.rank is None else f"{standing.rank:.2f}"
    own = f"{standing.on_joint_front} of {len(standing.front.points)}"
    return [standing.strategy, rank, evaluations_text(standing), interval_text(standing.final), own]


def _scores(by_seed: dict[str, dict[int, float]]) -> Floats | None:
    """Return (seeds, strategies) hypervolumes; None as long as a strategy lacks a seed."""
    seeds = {tuple(values) for values in by_seed.values()}
    if len(seeds) != 1 or len(by_seed) < 2:
        return None
    return np.array([list(values.values()) for values in by_seed.values()]).T
