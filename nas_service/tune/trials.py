"""A tuning session: the trials of one job, joined from its store, its checkpoints and what workers report. No Ray here.

Every finished epoch is written before it counts: first the checkpoint, then the entry that names it. A session made
anew over the same entries goes on where the old one was killed: it repeats no recorded epoch, proposes no trial twice,
and asks the method about all epochs again, in their order, so that every decision comes out as it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nas_service.job_tune import Tune
from nas_service.tune.methods import Leg, Method
from nas_service.tuning import OVER, RUNG, TRIAL, Entry, TrialReport, Tuning, parameters_text, value_of


class Journal(Protocol):
    """Append-only entries of one job; the store's events are."""

    def append(self, kind: str, message: str, data: dict[str, Any]) -> None:
        """Keep one more entry."""

    def entries(self) -> list[Entry]:
        """Return all entries, in order."""


class Checkpoints(Protocol):
    """Where checkpoints of trials lie."""

    def save(self, trial: int, epoch: int, data: bytes) -> None:
        """Keep the checkpoint of a trial's epoch, whole or not at all."""

    def load(self, trial: int, epoch: int) -> bytes | None:
        """Return it, None if it is not there."""

    def drop(self, keeps: Callable[[int, int], bool]) -> None:
        """Remove those for whose trial and epoch `keeps` says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A leg with the checkpoint that it goes on from."""

    leg: Leg
    checkpoint: bytes | None


class TuneSession:
    """The trials of one job.

    Args:
        tune: What is tuned.
        epochs: The most epochs of a trial.
        journal: The job's entries.
        checkpoints: The job's checkpoints.
        method: Decides what is trained.
        on_rung: Called with a trial's number and report after an epoch is recorded.
    """

    def __init__(
        self,
        tune: Tune,
        *,
        epochs: int,
        journal: Journal,
        checkpoints: Checkpoints,
        method: Method,
        on_rung: Callable[[int, TrialReport], None] = lambda trial, report: None,
    ) -> None:
        self._tune, self._epochs = tune, epochs
        self._journal, self._checkpoints, self._method, self._on_rung = journal, checkpoints, method, on_rung
        self._legs: dict[int, Leg] = {}
        self._tuning = Tuning()
        self._given_up: set[int] = set()
        self._replay()

    @property
    def tuning(self) -> Tuning:
        """The trials so far."""
        return self._tuning

    @property
    def in_flight(self) -> int:
        """Trials that are handed out."""
        return len(self._legs)

    @property
    def finished(self) -> bool:
        """Whether every trial is over."""
        trials = self._tuning.trials.values()
        return len(trials) == self._tune.trials and all(trial.status != "running" for trial in trials)

    @property
    def done_epochs(self) -> int:
        """Epochs that are trained or spared; `total_epochs` when all is over."""
        trials = self._tuning.trials.values()
        return sum(trial.epoch if trial.status == "running" else self._epochs for trial in trials)

    @property
    def total_epochs(self) -> int:
        """Epochs if no trial ended early."""
        return self._tune.trials * self._epochs

    def _replay(self) -> None:
        """Fold the entries; a trial whose end was decided but not recorded is ended now."""
        for entry in self._journal.entries():
            before = self._tuning
            self._tuning = before.after(entry.kind, entry.data)
            if entry.kind == RUNG and self._tuning != before:
                self._judge(int(entry.data["trial"]), replayed=True)
        for number in [n for n, trial in self._tuning.trials.items() if trial.status == "running"]:
            if number in self._given_up or self._tuning.trials[number].epoch >= self._epochs:
                self._end(number)

    def _over(self, number: int) -> bool:
        return number in self._tuning.trials and self._tuning.trials[number].status != "running"

    def next(self) -> Start | None:
        """Return what to train next, or None if there is nothing just now; see `finished`."""
        leg = self._method.next_leg(self._tuning, self._legs)
        if leg is None:
            return None
        if leg.new:
            told = {"trial": leg.trial, "parameters": leg.parameters, "parent": leg.source}
            origin = f" from trial {leg.source[0]} at epoch {leg.source[1]}" if leg.source else ""
            self._record(TRIAL, f"trial {leg.trial}{origin}: {parameters_text(leg.parameters)}", told)
        self._legs[leg.trial] = leg
        return Start(leg=leg, checkpoint=None if leg.source is None else self._checkpoints.load(*leg.source))

    def reached(self, trial: int, report: TrialReport) -> bool:
        """Take in the report of an epoch and return whether the trial's leg goes on.

        An epoch that is known already, because a worker died and began its leg again, changes nothing.
        """
        leg = self._legs.get(trial)
        if leg is None:
            return False
        if report.error is not None:
            self.lost(trial, report.error)
            return False
        known = self._tuning.trials[trial].epoch
        if report.epoch > known:
            self._checkpoints.save(trial, report.epoch, report.checkpoint)
            self._record(RUNG, self._rung_text(trial, report), _rung_data(trial, report, self._tune.metric))
            self._on_rung(trial, report)
            self._judge(trial)
        over = self._over(trial) or report.epoch >= leg.until
        if over:
            del self._legs[trial]
        if report.epoch > known:
            self._checkpoints.drop(lambda t, epoch: self._keeps(t, epoch))
        return not over

    def lost(self, trial: int, error: str) -> None:
        """Record a trial that failed; one that is not in flight is left as it is."""
        if self._legs.pop(trial, None) is not None:
            message = f"trial {trial} failed: {error}"
            self._record(OVER, message, {"trial": trial, "status": "failed", "error": error})

    def _judge(self, number: int, *, replayed: bool = False) -> None:
        trial = self._tuning.trials[number]
        if self._method.ends(trial):
            self._given_up.add(number)
        if not replayed and (number in self._given_up or trial.epoch >= self._epochs):
            self._end(number)

    def _end(self, number: int) -> None:
        status = "stopped" if number in self._given_up else "finished"
        trial = self._tuning.trials[number]
        message = f"trial {number} {status} after {trial.epoch} epochs at {100 * (trial.value or 0):.2f} %"
        self._record(OVER, message, {"trial": number, "status": status})

    def _record(self, kind: str, message: str, data: dict[str, Any]) -> None:
        self._journal.append(kind, message, data)
        self._tuning = self._tuning.after(kind, data)

    def _keeps(self, trial: int, epoch: int) -> bool:
        return trial in self._tuning.trials and self._method.keeps(self._tuning, trial, epoch)

    def _rung_text(self, trial: int, report: TrialReport) -> str:
        value = value_of(report.accuracies, self._tune.metric)
        return f"trial {trial}, epoch {report.epoch} of {self._epochs}: {self._tune.metric} {100 * value:.2f} %"


def _rung_data(trial: int, report: TrialReport, metric: str) -> dict[str, Any]:
    return {
        "trial": trial,
        "reached": report.epoch,
        "value": value_of(report.accuracies, metric),
        "losses": report.losses,
        "accuracies": report.accuracies,
        "learning_rate": report.learning_rate,
        "seconds": report.seconds,
    }
