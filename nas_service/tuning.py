"""A tuning as values: its trials and their curves, folded from the append-only entries that the store keeps.

Entries are job events of three kinds. `trial`: a trial begins, or goes on as a copy of another (`parent`), with these
parameters. `rung`: it reached an epoch with this value. `trial_over`: it finished, was stopped or failed. Whoever
needs to know how a tuning stands (the session that goes on after a kill, the command line, the report, the search that
takes its best) folds the same entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

TRIAL, RUNG, OVER = "trial", "rung", "trial_over"
Status = Literal["running", "finished", "stopped", "failed"]


class Entry(Protocol):
    """One event of a job; the store's and the client's are."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def data(self) -> dict[str, Any]:
        """Its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What a worker tells of one epoch of a trial, or why there is none.

    Attributes:
        epoch: Finished epochs; 0 for a failure.
        losses: Means over the epoch.
        accuracies: Shares in [0, 1], by the watched pair's name.
        learning_rate: Of the last step.
        seconds: Time of the epoch's steps.
        checkpoint: What the next epoch goes on from.
        error: Why the trial failed, None if it did not.
    """

    epoch: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    seconds: float = 0.0
    checkpoint: bytes = field(default=b"", repr=False)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One epoch of a trial: its value, which is maximised, and the figures that it came with."""

    epoch: int
    value: float
    losses: dict[str, float] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedTrial:
    """One trial so far.

    Attributes:
        number: From 1.
        parameters: What it trains with now; in a population they change.
        parent: The trial and epoch whose weights it went on from last, None if it always had its own.
        status: How it stands.
        rungs: Its epochs, in order.
        error: Why it failed.
    """

    number: int
    parameters: dict[str, Any]
    parent: tuple[int, int] | None = None
    status: Status = "running"
    rungs: tuple[Rung, ...] = ()
    error: str | None = None

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.rungs[-1].epoch if self.rungs else 0

    @property
    def value(self) -> float | None:
        """The value after its last epoch, None before the first."""
        return self.rungs[-1].value if self.rungs else None

    def value_at(self, epoch: int) -> float | None:
        """Return the value after an epoch, None if it was not reached."""
        return next((rung.value for rung in self.rungs if rung.epoch == epoch), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The trials of a tuning, by number."""

    trials: dict[int, TunedTrial] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Tuning:
        """Return the tuning that events tell of; those of other kinds are passed over."""
        tuning = cls()
        for entry in entries:
            tuning = tuning.after(entry.kind, entry.data)
        return tuning

    def after(self, kind: str, data: Mapping[str, Any]) -> Tuning:
        """Return the tuning after one more entry; a rung that is known already changes nothing."""
        if kind not in (TRIAL, RUNG, OVER):
            return self
        number = int(data["trial"])
        trial = self.trials.get(number)
        if kind == TRIAL:
            parent = data.get("parent")
            trial = replace(
                trial or TunedTrial(number=number, parameters={}),
                parameters=dict(data["parameters"]),
                parent=None if parent is None else (int(parent[0]), int(parent[1])),
            )
        elif trial is None:
            return self
        elif kind == OVER:
            trial = replace(trial, status=data["status"], error=data.get("error"))
        elif int(data["reached"]) > trial.epoch:
            trial = replace(trial, rungs=(*trial.rungs, _rung(data)))
        return Tuning(trials={**self.trials, number: trial})

    @property
    def best(self) -> TunedTrial | None:
        """The trial that got furthest with the highest value; None before any reached an epoch.

        Values of different epochs are not compared: a trial that was stopped early cannot be the best.
        """
        reached = [trial for trial in self.trials.values() if trial.rungs and trial.status != "failed"]
        if not reached:
            return None
        return max(reached, key=lambda trial: (trial.epoch, trial.rungs[-1].value, -trial.number))

    @property
    def ranked(self) -> list[TunedTrial]:
        """The trials, best first; failed ones last."""
        order = sorted(self.trials.values(), key=lambda t: (-t.epoch, -(t.value or 0.0), t.number))
        return sorted(order, key=lambda trial: trial.status == "failed")

    def count(self, status: Status) -> int:
        """Return how many trials have a status."""
        return sum(trial.status == status for trial in self.trials.values())


def value_of(accuracies: Mapping[str, float], metric: str) -> float:
    """Return what is maximised: an accuracy by its name, or the mean of all that are watched."""
    if metric in accuracies:
        return accuracies[metric]
    return sum(accuracies.values()) / len(accuracies)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Return hyperparameters as people read them."""
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in parameters.items())  # fmt: skip


def _rung(data: Mapping[str, Any]) -> Rung:
    return Rung(
        epoch=int(data["reached"]),
        value=float(data["value"]),
        losses=dict(data.get("losses") or {}),
        accuracies=dict(data.get("accuracies") or {}),
        learning_rate=float(data.get("learning_rate") or 0.0),
        seconds=float(data.get("seconds") or 0.0),
    )
