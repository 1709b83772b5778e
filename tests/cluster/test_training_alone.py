"""Pairs that are trained alone after a search: nothing that cuts them off costs more than an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster import audit_phase
from cluster.audit_phase import RETRIES, AuditPhase
from cluster.training_phase import StopRequestedError
from nas_service.candidate import Candidate
from nas_service.fidelity import AUDIT
from nas_service.job import parse_job
from nas_service.presets import MICRO
from tests.cluster.test_audit_phase import candidate
from workers.alone import train_alone
from workers.checkpoint import Checkpoint
from workers.data.dataset import DatasetSpec
from workers.trainer import EpochReport

EPOCHS = 3
PAIRS = [candidate(number, accuracies={"little": 60.0, "big": 80.0, "n": 100, "of": 100}) for number in (1, 2)]
TRAINED = SimpleNamespace(definition=MICRO, dataset=DatasetSpec(name="digits"))
NEVER = 99


class OneJob:
    """A job in memory that asks for an audit of its pairs, and is to be stopped after so many words of progress."""

    def __init__(
        self, work: Path, pairs: Sequence[Candidate] = PAIRS, *, stop_after: int = NEVER, at_once: int = 1
    ) -> None:
        self.job_id, self.work, self.pairs, self.stop_after = "j", work, list(pairs), stop_after
        self.spec = parse_job(
            {
                "kind": "search",
                "name": "audited",
                "dataset": {"name": "digits"},
                "space": {"preset": "micro"},
                "supernet": {"epochs": EPOCHS, "batch_size": 32, "train_fraction": 0.1},
                "strategy": {"name": "random", "evaluations": 1},
                "objectives": ["error", "macs"],
                "finalists": {"audit": 2},
                "resources": {"evaluators": {"count": at_once}},
            }
        )
        self.store = SimpleNamespace(candidates=self, jobs=self)
        self.events: list[SimpleNamespace] = []
        self.shown = 0

    def list(self, _: str) -> list[Candidate]:
        return self.pairs

    def history(self, _: str) -> list[SimpleNamespace]:
        return self.events

    def note(self, kind: str, message: str, data: dict[str, Any] | None = None) -> None:
        self.events.append(SimpleNamespace(kind=kind, message=message, data=data or {}))

    def progress(self, phase: str, **_: Any) -> None:
        self.shown += 1

    def stop_requested(self) -> bool:
        return self.shown > self.stop_after

    def told(self) -> dict[str, dict[str, float]]:
        return {e.data["candidate"]: e.data["accuracies"] for e in self.events if e.kind == AUDIT}

    def kept(self) -> dict[str, int]:
        return {f.name.split("-check")[0]: Checkpoint.from_bytes(f.read_bytes()).epoch for f in self.work.iterdir()}


class InProcess:
    """What an audit uses of Ray, without a cluster: tasks run here, one step at a time."""

    exceptions = ray.exceptions

    def __init__(self, task: Callable[..., Iterator[Any]]) -> None:
        self.task, self.resumed_from = task, []

    def remote(self, _: Any) -> InProcess:
        return self if callable(_) else _

    def options(self, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(remote=self.start)

    def start(self, *arguments: Any, resume: bytes | None, **options: Any) -> Iterator[Any]:
        self.resumed_from.append(None if resume is None else Checkpoint.from_bytes(resume).epoch)
        return self.task(*arguments, resume=resume, **options)

    def wait(self, streams: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return streams[:1], streams[1:]

    def get(self, given: Any) -> Any:
        return given

    def cancel(self, stream: Any, *, force: bool) -> None:
        stream.close()


def audited(job: OneJob, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Iterator[Any]] = train_alone) -> list:
    """Audit in this process; return the epochs after which trainings began."""
    runner = InProcess(task)
    monkeypatch.setattr(audit_phase, "ray", runner)
    AuditPhase(job, TRAINED)._alone()  # type: ignore[arg-type]
    return runner.resumed_from


@pytest.mark.slow
def test_an_audit_that_was_stopped_goes_on_after_the_last_epoch_and_tells_the_same(monkeypatch, tmp_path):
    whole, cut = OneJob(tmp_path / "whole"), OneJob(tmp_path / "cut", stop_after=1)
    assert audited(whole, monkeypatch) == [None, None]
    with pytest.raises(StopRequestedError, match="stopped after 0 of 2 pairs were trained alone"):
        audited(cut, monkeypatch)
    assert cut.kept() == {"alone-j-1": 2}
    cut.stop_after = NEVER
    assert audited(cut, monkeypatch) == [2, None]
    assert cut.told() == whole.told()
    assert set(cut.told()) == {"j-1", "j-2"}
    assert cut.kept() == {}


def losing(every: int) -> Callable[..., Iterator[Any]]:
    """Return a task whose worker is lost after every so many epochs."""

    def train(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, given in enumerate(train_alone(*arguments, **options), 1):
            yield given
            if number == every and isinstance(given, EpochReport):
                raise ray.exceptions.WorkerCrashedError

    return train


@pytest.mark.slow
def test_a_lost_worker_costs_its_epoch_alone(monkeypatch, tmp_path):
    job = OneJob(tmp_path, PAIRS[:1])
    assert audited(job, monkeypatch, losing(2)) == [None, 2]
    assert set(job.told()) == {"j-1"}


def test_a_pair_whose_worker_is_lost_again_and_again_is_said_to_have_failed(monkeypatch, tmp_path):
    def lost(*_: Any, **__: Any) -> Iterator[Any]:
        raise ray.exceptions.WorkerCrashedError
        yield

    job = OneJob(tmp_path, PAIRS[:1])
    assert audited(job, monkeypatch, lost) == [None] * (1 + RETRIES)
    assert [(e.kind, "j-1 could not be trained alone" in e.message) for e in job.events] == [("failed", True)]


@pytest.mark.slow
@pytest.mark.ray
def test_pairs_that_train_side_by_side_under_ray_are_stopped_and_go_on(ray_cluster, tmp_path):
    job = OneJob(tmp_path, stop_after=1, at_once=2)
    with pytest.raises(StopRequestedError):
        AuditPhase(job, TRAINED)._alone()  # type: ignore[arg-type]
    kept = job.kept()
    assert set(kept) == {"alone-j-1", "alone-j-2"}
    assert all(1 <= epoch <= EPOCHS for epoch in kept.values())
    job.stop_after = NEVER
    AuditPhase(job, TRAINED)._alone()  # type: ignore[arg-type]
    assert set(job.told()) == {"j-1", "j-2"}
    assert job.kept() == {}
