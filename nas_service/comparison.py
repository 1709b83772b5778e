"""A comparison of strategies as a value, folded from the append-only events that the store keeps.

Events are of three kinds. `charge`: a candidate counts against the budget of one strategy with one seed; the first
charge of a candidate carries the points of its curve. `trained`: a strategy that searches while training has its
supernet. `compared`: every strategy is through, those too that had nothing more to ask for before their budget ended.
Whoever needs to know how a comparison stands folds the same events; one that is told twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

CHARGE, TRAINED, COMPARED = "charge", "trained", "compared"
Points: TypeAlias = tuple[tuple[float, ...], ...]


class Entry(Protocol):
    """One event of a job; the store's and the client's are."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def data(self) -> dict[str, Any]:
        """Its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One candidate, counted against one budget.

    Attributes:
        candidate_id: Whose evaluation.
        seconds: What its evaluation took on a worker, whoever asked for it first.
        asking_s: What the strategy itself took to ask for it.
        board_s: What boards took for those of its halves that this budget had not paid for.
        known: Whether another had it evaluated before.
    """

    candidate_id: str
    seconds: float = 0.0
    asking_s: float = 0.0
    board_s: float = 0.0
    known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a search during training spent: epochs, seconds, and pairs that it scored on validation images inside."""

    epochs: int
    seconds: float
    evaluations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One strategy with one seed: its charges, in order."""

    index: int
    strategy: str
    seed: int
    charges: tuple[Charge, ...] = ()
    training: Training | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All runs by index, and every candidate's points, in the job's objectives; none for one that failed.

    Once it is `over`, a run that is shorter than others is so for good.
    """

    runs: dict[int, Run] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=dict)
    over: bool = False

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Comparison:
        """Return the comparison that events tell of; those of other kinds are passed over."""
        comparison = cls()
        for entry in entries:
            if entry.kind in (CHARGE, TRAINED, COMPARED):
                comparison = comparison.after(entry.kind, entry.data)
        return comparison

    def after(self, kind: str, data: Mapping[str, Any]) -> Comparison:
        """Return the comparison after one more event."""
        if kind == COMPARED:
            return replace(self, over=True)
        index = int(data["entrant"])
        run = self.runs.get(index) or Run(index=index, strategy=str(data["strategy"]), seed=int(data["seed"]))
        if kind == TRAINED:
            training = Training(
                epochs=int(data["epochs"]), seconds=float(data["seconds"]), evaluations=int(data["evaluations"])
            )
            return replace(self, runs={**self.runs, index: replace(run, training=training)})
        charge = _charge(data)
        if any(c.candidate_id == charge.candidate_id for c in run.charges):
            return self
        points = self.points
        if data.get("points") is not None:
            points = {**points, charge.candidate_id: tuple(tuple(map(float, p)) for p in data["points"])}
        return replace(
            self,
            runs={**self.runs, index: replace(run, charges=(*run.charges, charge))},
            points=points,
        )

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies, in the order in which they entered."""
        return tuple(dict.fromkeys(self.runs[i].strategy for i in sorted(self.runs)))

    def of_strategy(self, strategy: str) -> list[Run]:
        """Return a strategy's runs, by seed."""
        return sorted((run for run in self.runs.values() if run.strategy == strategy), key=lambda run: run.seed)

    @property
    def charged(self) -> int:
        """Evaluations counted so far, those that several share counted for each."""
        return sum(len(run.charges) for run in self.runs.values())


def charge_data(run: Run, charge: Charge, points: Points | None) -> dict[str, Any]:
    """Return an event's data for a charge; `points` only with the first of a candidate's charges."""
    data: dict[str, Any] = {
        "entrant": run.index,
        "strategy": run.strategy,
        "seed": run.seed,
        "candidate": charge.candidate_id,
        "seconds": charge.seconds,
        "asking_s": charge.asking_s,
        "board_s": charge.board_s,
        "known": charge.known,
    }
    return data if points is None else {**data, "points": [list(point) for point in points]}


def _charge(data: Mapping[str, Any]) -> Charge:
    return Charge(
        candidate_id=str(data["candidate"]),
        seconds=float(data["seconds"]),
        asking_s=float(data["asking_s"]),
        board_s=float(data["board_s"]),
        known=bool(data["known"]),
    )
