"""One job whose supernet two workers train under Ray Train: stopped after an epoch, resumed, and a worker killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.store import Store
from tests.cluster.live import processes
from workers.checkpoint import Checkpoint
from workers.errors import TrainingCollapsedError

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 3
JOB = {
    "kind": "train",
    "name": "two-workers",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["stem"]},
    "supernet": {"epochs": EPOCHS, "batch_size": 64, "train_fraction": 0.5, "accumulate": 2},
    "resources": {"trainer": {"workers": 2}},
}


@dataclass
class Story:
    """What was seen of the job."""

    stopped_after: list[int] = field(default_factory=list)
    left_running: list[int] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    checkpoint: bytes = b""


def group_pids() -> list[int]:
    """Return the workers of a group that trains in this process's own Ray cluster: their raylet is its child."""
    found = [pid for pid, words in processes() if "RayTrainWorker" in words[0]]
    return [pid for pid in found if _parent(_parent(pid)) == os.getpid()]


def _parent(pid: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def epochs_of(store: Store, job_id: str) -> list[dict]:
    return [event.data for event in store.jobs.events(job_id) if event.kind == "epoch"]


def wait_until(look, *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not look() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(look())


def kill_a_worker(story: Story, store: Store, job_id: str) -> None:
    """Kill one worker as soon as the resumed run has finished an epoch."""
    wait_until(lambda: epochs_of(store, job_id), timeout_s=300)
    for pid in group_pids()[:1]:
        os.kill(pid, signal.SIGKILL)
        story.killed.append(pid)


@pytest.fixture(scope="module")
def story(ray_cluster, tmp_path_factory) -> Story:
    from cluster.training_phase import StopRequestedError, train_supernet

    root, story, spec = tmp_path_factory.mktemp("group"), Story(), parse_job(JOB)
    with Store.open(Home(root)) as store:
        job_id = store.jobs.create(spec).id
        store.jobs.request_stop(job_id)
        with pytest.raises(StopRequestedError, match="stopped after epoch 1 of 3"):
            train_supernet(job_id, spec, store=store, work=root / "work" / job_id)
        story.stopped_after = [event["epoch"] for event in epochs_of(store, job_id)]
        wait_until(lambda: not group_pids(), timeout_s=60)
        story.left_running = group_pids()

        again = store.jobs.create(spec).id
        (root / "work" / job_id).rename(root / "work" / again)
        killer = threading.Thread(target=kill_a_worker, args=(story, store, again), daemon=True)
        killer.start()
        train_supernet(again, spec, store=store, work=root / "work" / again)
        killer.join(60)
        story.epochs = [event["epoch"] for event in epochs_of(store, again)]
        story.losses = [event["losses"]["loss"] for event in epochs_of(store, again)]
        story.checkpoint = store.files.get(store.jobs.get(again).artefacts["supernet"])
    return story


def test_a_stopped_job_keeps_its_epoch_and_leaves_no_worker_behind(story):
    assert story.stopped_after == [1]
    assert story.left_running == []


def test_a_killed_worker_costs_no_finished_epoch_and_none_is_told_twice(story):
    assert len(story.killed) == 1
    assert story.epochs == list(range(2, EPOCHS + 1))


def test_what_was_trained_is_whole(story):
    checkpoint = Checkpoint.from_bytes(story.checkpoint)
    assert (checkpoint.epoch, checkpoint.config["accumulate"], checkpoint.rollbacks) == (EPOCHS, 2, 0)
    assert story.losses[-1] < story.losses[0]


def test_what_cannot_be_mended_by_another_try_reaches_the_caller_as_raised(ray_cluster):
    from nas_service.presets import MICRO
    from workers.actors import GroupTraining
    from workers.data.dataset import DatasetSpec
    from workers.train_config import TrainConfig
    from workers.training_run import TrainingRun, WorkerGroup

    config = TrainConfig(epochs=1, batch_size=32, learning_rate=1e30, clip_norm=1e30, rollbacks=0)
    run = TrainingRun(
        definition=MICRO,
        dataset=DatasetSpec(name="digits"),
        seed=0,
        train_fraction=0.1,
        config=config,
        evolution=None,
        constraints=None,
    )
    with pytest.raises(TrainingCollapsedError, match="after 0 rollbacks"):
        list(GroupTraining(run, WorkerGroup(workers=2)).reports())
