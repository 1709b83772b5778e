"""A journal and checkpoints in memory, a runner that learns nothing, and a driver that is no Ray, for tunings."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_service.job_tune import Tune
from nas_service.tune.methods import Stopper, make_method
from nas_service.tune.trials import TuneSession
from nas_service.tuning import TrialReport
from tests.nas_service.tune.fakes import CutError

RANGES = {"learning_rate": {"log": [0.01, 1.0]}, "distillation": {"uniform": [0.0, 1.0]}}


def tune_of(method: str = "asha", *, trials: int = 8, **changes: Any) -> Tune:
    return Tune.model_validate({"method": method, "trials": trials, "parameters": RANGES, **changes})


@dataclass(frozen=True)
class Kept:
    """An entry of the journal."""

    kind: str
    data: dict[str, Any]


@dataclass
class Memory:
    """A journal and checkpoints that outlive a session; `writes_left` says after how many writes it is killed."""

    kept: list[Kept] = field(default_factory=list)
    files: dict[tuple[int, int], bytes] = field(default_factory=dict)
    loaded: list[tuple[int, int]] = field(default_factory=list)
    writes_left: int | None = None

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise CutError
            self.writes_left -= 1

    def append(self, kind: str, message: str, data: dict[str, Any]) -> None:
        self._write()
        self.kept.append(Kept(kind, data))

    def entries(self) -> list[Kept]:
        return list(self.kept)

    def save(self, trial: int, epoch: int, data: bytes) -> None:
        self._write()
        self.files[trial, epoch] = data

    def load(self, trial: int, epoch: int) -> bytes | None:
        self.loaded.append((trial, epoch))
        return self.files.get((trial, epoch))

    def drop(self, keeps: Callable[[int, int], bool]) -> None:
        self.files = {key: data for key, data in self.files.items() if keeps(*key)}

    def rungs(self) -> list[tuple[int, int]]:
        """Every recorded epoch as (trial, epoch), in order."""
        return [(e.data["trial"], e.data["reached"]) for e in self.kept if e.kind == "rung"]


class Median:
    """Gives up whoever is below the median of what came to the same epoch before; plain enough to foresee."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}

    def goes_on(self, trial: int, *, epoch: int, value: float) -> bool:
        others = self.seen.setdefault(epoch, [])
        goes_on = not others or value >= sorted(others)[len(others) // 2]
        others.append(value)
        return goes_on


def session_over(
    memory: Memory, tune: Tune, *, epochs: int = 4, seed: int = 0, stopper: Stopper | None = None
) -> TuneSession:
    method = make_method(tune, epochs=epochs, seed=seed, stopper=stopper or Median())
    return TuneSession(tune, epochs=epochs, journal=memory, checkpoints=memory, method=method)


class Pretended:
    """A runner without a network: an epoch's value follows from the hyperparameters and the epochs behind it.

    Args:
        notes: A folder in which every process and every epoch leaves a file; None leaves nothing.
        pause_s: How long an epoch takes.
    """

    def __init__(self, *, notes: str | None = None, pause_s: float = 0.0) -> None:
        self._notes, self._pause_s = None if notes is None else Path(notes), pause_s
        self._parameters: dict[str, Any] = {}
        self._epoch = 0

    def begin(self, parameters: dict[str, Any], checkpoint: bytes | None) -> None:
        self._parameters, self._epoch = parameters, 0 if checkpoint is None else int(checkpoint)

    def epoch(self) -> TrialReport:
        time.sleep(self._pause_s)
        if self._parameters["learning_rate"] > 0.9:
            return TrialReport(error="the loss went to NaN; lower learning_rate")
        self._epoch += 1
        if self._notes is not None:
            (self._notes / f"{os.getpid()}-{time.time_ns()}").touch()
        value = 1.0 - 0.5 * abs(self._parameters["distillation"] - 0.3) - 0.3 / self._epoch
        return TrialReport(
            epoch=self._epoch, accuracies={"largest_big": value}, seconds=0.1, checkpoint=str(self._epoch).encode()
        )


class KilledOnce(Pretended):
    """Its process is killed the first time that any trial comes to its third epoch."""

    def epoch(self) -> TrialReport:
        assert self._notes is not None
        mark = self._notes.parent / "killed"
        if self._epoch == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().epoch()


def drive(session: TuneSession, *, workers: int = 2, epochs: int = 10_000, make: Callable[[], Any] = Pretended) -> int:
    """Train in turns, an epoch of each worker, as Ray Tune would; return how many epochs were trained."""
    busy: dict[int, Any] = {}
    trained = 0
    while trained < epochs:
        while len(busy) < workers and (start := session.next()) is not None:
            busy[start.leg.trial] = runner = make()
            runner.begin(start.leg.parameters, start.checkpoint)
        if not busy:
            break
        for trial, runner in list(busy.items()):
            trained += 1
            if not session.reached(trial, runner.epoch()):
                del busy[trial]
    return trained
