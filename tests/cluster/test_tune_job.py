"""Jobs of kind `tune`: what a worker trains, the folder of checkpoints, and a whole job whose driver is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.search_curve import search_figures
from cluster.tune_job import TrialFiles
from nas_service.api.tuned import with_tuned
from nas_service.api.views import JobView
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.job_state import JobState
from nas_service.report import collect, write_report
from nas_service.server_events import JobEvent
from nas_service.store import Store
from nas_service.strict_yaml import load_yaml
from nas_service.tuning import Tuning
from tests.cluster.gateway.processes import wait_for
from tests.nas_service.tune.tunings import Memory, drive, session_over
from workers.data.dataset import DatasetSpec

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
EXAMPLE = {**load_yaml((EXAMPLES / "digits-tune.yaml").read_text()), "logging": {"tensorboard": True}}
EPOCHS, TRIALS = EXAMPLE["supernet"]["epochs"], EXAMPLE["tune"]["trials"]
JOB = {
    "kind": "tune",
    "name": "tuning",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["nested"]},
    "supernet": {"epochs": 3, "batch_size": 64, "train_fraction": 0.5},
    "tune": {
        "trials": 6,
        "parameters": {"learning_rate": {"log": [0.05, 0.5]}, "pad": {"integer": [0, 1]}},
    },
}


def test_a_folder_of_checkpoints_keeps_what_is_wanted_and_gives_nothing_for_what_is_gone(tmp_path):
    files = TrialFiles(tmp_path / "work")
    for trial, epoch in ((1, 1), (1, 2), (2, 1)):
        files.save(trial, epoch, f"{trial}-{epoch}".encode())
    files.drop(lambda trial, epoch: (trial, epoch) == (1, 2))
    assert (files.load(1, 2), files.load(1, 1), files.load(2, 1)) == (b"1-2", None, None)


def test_a_worker_returns_what_went_wrong_with_a_trial_and_trains_the_next_one():
    from cluster.trial_runner import SupernetTrials
    from nas_service.presets import MICRO

    small = {**JOB, "supernet": {**JOB["supernet"], "train_fraction": 0.1}}
    runner = SupernetTrials(spec=parse_job(small), definition=MICRO, dataset=DatasetSpec(name="digits"), device="cpu")
    runner.begin({"learning_rate": 0.1}, b"no checkpoint")
    assert "these 13 bytes are no whole checkpoint" in (runner.epoch().error or "")
    runner.begin({"learning_rate": 0.1, "pad": 1}, None)
    report = runner.epoch()
    assert (report.error, report.epoch) == (None, 1)
    assert set(report.accuracies) == {"largest_little", "largest_big", "smallest_little", "smallest_big"}


@pytest.mark.slow  # eight epochs
def test_a_population_of_supernets_goes_on_from_weights_of_its_best_with_other_hyperparameters():
    from cluster.trial_runner import SupernetTrials
    from nas_service.presets import MICRO

    tune = {"method": "pbt", "trials": 4, "parameters": {"learning_rate": {"log": [0.01, 0.5]},
            "batch_size": {"choice": [32, 64]}}}  # fmt: skip
    spec = parse_job({**JOB, "tune": tune, "supernet": {"epochs": 2, "train_fraction": 0.1}})
    runner = SupernetTrials(spec=spec, definition=MICRO, dataset=DatasetSpec(name="digits"), device="cpu")
    session = session_over(Memory(), spec.tune, epochs=2)
    drive(session, workers=1, make=lambda: runner)
    copied = [t for t in session.tuning.trials.values() if t.parent]
    assert session.finished
    assert (len(copied), session.tuning.count("finished")) == (1, 4)


def candidate(number: int, error: float, macs: float) -> Candidate:
    return Candidate(
        id=f"j-{number}", job_id="j", number=number, strategy_index=0, strategy="random", architecture={},
        phenotype=str(number), costs={}, structures={}, created_at=0.0, finished_at=float(number),
        status=CandidateStatus.FINISHED, values=({"error": error, "macs": macs},),
    )  # fmt: skip


def test_the_hypervolume_of_a_search_begins_with_its_fourth_candidate_and_never_falls():
    rng = np.random.default_rng(0)
    told = [candidate(n, float(rng.uniform(5, 50)), float(rng.uniform(1, 9))) for n in range(1, 13)]
    figures = [search_figures(told[:n], ("error", "macs")) for n in range(1, 13)]
    volumes = [f["search/hypervolume"] for f in figures[3:]]
    assert "search/hypervolume" not in figures[2]
    assert volumes == sorted(volumes)
    assert 0 < volumes[0] <= volumes[-1] < 1
    assert figures[-1]["search/best_error"] == min(c.values[0]["error"] for c in told)


class DriverOnly:
    """A store and a driver with a Ray of its own: no gateway, no API; the driver can be killed.

    Args:
        home: Made for it.
    """

    def __init__(self, home: Home) -> None:
        self.home, self.store = home.create(), Store.open(home)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, job_id: str) -> None:
        command = [sys.executable, "-m", "cluster.driver", job_id, "--home", str(self.home.root)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}
        with (self.home.logs / "driver.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def wait_for_rungs(self, job_id: str, count: int) -> None:
        wait_for(f"{count} epochs", lambda: len(self.rungs(job_id)) >= count or self._over(job_id), timeout_s=200)
        assert not self._over(job_id), self.store.jobs.get(job_id).message

    def ended(self, job_id: str) -> JobState:
        wait_for("the job's end", lambda: self._over(job_id), timeout_s=400)
        assert self.process is not None
        self.process.wait(timeout=60)
        return self.store.jobs.get(job_id).state

    def kill(self) -> None:
        """End the driver and all that its Ray has started, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def resume(self, job_id: str) -> None:
        self.store.jobs.transition(job_id, JobState.QUEUED, "resumed")
        self.start(job_id)

    def rungs(self, job_id: str) -> list[tuple[int, int]]:
        events = self.store.jobs.history(job_id)
        return [(e.data["trial"], e.data["reached"]) for e in events if e.kind == "rung"]

    def _over(self, job_id: str) -> bool:
        return self.store.jobs.get(job_id).state.over


@contextlib.contextmanager
def driver_alone() -> Iterator[DriverOnly]:
    """A home whose jobs' drivers run without a service; whatever is left of it at the end is removed."""
    root = Path(tempfile.mkdtemp(prefix="nas-job-", dir="/tmp"))  # paths of Ray's sockets must stay short
    driven = DriverOnly(Home(root))
    try:
        yield driven
    finally:
        if driven.process is not None and driven.process.poll() is None:
            driven.kill()
        driven.store.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def driver() -> Iterator[DriverOnly]:
    with driver_alone() as driven:
        yield driven


@pytest.fixture(scope="module")
def tuned(driver: DriverOnly) -> str:
    """The docs' example, whose driver was killed once."""
    job_id = driver.store.jobs.create(parse_job(EXAMPLE)).id
    driver.start(job_id)
    driver.wait_for_rungs(job_id, 2)
    driver.kill()
    driver.resume(job_id)
    assert driver.ended(job_id) is JobState.FINISHED
    return job_id


class StoreSource:
    """What a report asks of a client, from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def job(self, job_id: str) -> dict[str, Any]:
        return JobView.of(self._store.jobs.get(job_id)).model_dump()

    def front(self, job_id: str) -> dict[str, Any]:
        return {"points": []}

    def candidates(self, job_id: str) -> list[dict[str, Any]]:
        return []

    def candidate(self, candidate_id: str) -> dict[str, Any]:
        raise KeyError(candidate_id)

    def measurements(self) -> list[dict[str, Any]]:
        return []

    def version(self) -> str:
        return "1"

    def past_events(self, job_id: str) -> list[JobEvent]:
        return [JobEvent(id=e.id, kind=e.kind, data=e.data) for e in self._store.jobs.history(job_id)]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("service")  # it has a Ray of its own; here it keeps the two groups of equal length
@pytest.mark.timeout(900)
class TestWholeJob:
    """A driver under Ray, and what came of its job."""

    def test_no_epoch_is_trained_twice_and_all_trials_are_over(self, driver, tuned):
        rungs = driver.rungs(tuned)
        tuning = Tuning.of(driver.store.jobs.history(tuned))
        assert len(rungs) == len(set(rungs))
        assert len(tuning.trials) == TRIALS
        assert tuning.count("running") == tuning.count("failed") == 0
        assert tuning.best.epoch == EPOCHS

    def test_the_best_supernet_is_kept_and_the_other_checkpoints_are_gone(self, driver, tuned):
        assert driver.store.files.exists(driver.store.jobs.get(tuned).artefacts["supernet"])
        assert list((driver.home.work / tuned).glob("trial-*")) == []

    def test_curves_lie_where_the_log_says_one_file_for_each_driver(self, driver, tuned):
        said = next(e.message for e in driver.store.jobs.history(tuned) if e.kind == "logging")
        folder = driver.home.logs / "tensorboard" / tuned
        assert str(folder) in said
        assert len(list(folder.iterdir())) == 2

    def test_the_report_and_a_train_job_take_the_best(self, driver, tuned, tmp_path):
        best = Tuning.of(driver.store.jobs.history(tuned)).best
        write_report(collect(StoreSource(driver.store), tuned), tmp_path)
        assert f"**best, trial {best.number}**" in (tmp_path / "report.md").read_text()
        plain = {key: value for key, value in EXAMPLE.items() if key != "tune"}
        supernet = {"epochs": 1, "tuned": tuned}
        taken = with_tuned(parse_job({**plain, "kind": "train", "supernet": supernet}), driver.store.jobs).supernet
        values = (taken.learning_rate, taken.weight_decay, taken.cotraining.distillation, taken.random_pairs)
        assert values == tuple(best.parameters.values())
