"""Jobs of kind `tune`: what a worker trains, the folder of checkpoints, and a whole job whose driver is killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cluster.search_curve import search_figures
from cluster.tune_job import TrialFiles
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.client import Client
from nas_service.job import parse_job
from nas_service.report import collect, write_report
from nas_service.strict_yaml import load_yaml
from nas_service.tuning import Tuning
from tests.cluster.live import LiveService
from tests.nas_service.tune.tunings import Memory, drive, session_over
from workers.data.dataset import DatasetSpec

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
EPOCHS, TRIALS = 3, 6
JOB = {
    "kind": "tune",
    "name": "tuning",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["nested"]},
    "supernet": {"epochs": EPOCHS, "batch_size": 64, "train_fraction": 0.5},
    "tune": {
        "trials": TRIALS,
        "reduction": 2,
        "parameters": {"learning_rate": {"log": [0.05, 0.5]}, "pad": {"integer": [0, 1]}},
    },
    "logging": {"tensorboard": True},
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


@pytest.fixture(scope="module")
def tuned(live: LiveService) -> str:
    """A tuning whose driver was killed once and which was stopped and resumed once."""
    job_id = live.client.submit(JOB)["id"]
    live.wait("epochs", job_id, lambda: len(live.events(job_id, "rung")) >= 2)
    live.kill_driver(job_id)
    live.resume(job_id)
    before = len(live.events(job_id, "rung"))
    live.wait("more epochs", job_id, lambda: len(live.events(job_id, "rung")) > before)
    live.client.stop(job_id)
    assert live.ended(job_id)["state"] == "stopped"
    live.resume(job_id)
    assert live.ended(job_id)["state"] == "finished"
    return job_id


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.ssh
@pytest.mark.timeout(600)
class TestWholeJob:
    """A service, a job, and what came of it."""

    def test_no_epoch_is_trained_twice_and_all_trials_are_over(self, live, tuned):
        rungs = [(e["trial"], e["reached"]) for e in live.events(tuned, "rung")]
        tuning = Tuning.of(live.store.jobs.history(tuned))
        assert len(rungs) == len(set(rungs))
        assert len(tuning.trials) == TRIALS
        assert tuning.count("running") == tuning.count("failed") == 0
        assert tuning.best.epoch == EPOCHS

    def test_the_best_supernet_is_kept_and_the_other_checkpoints_are_gone(self, live, tuned):
        assert live.store.files.exists(live.client.job(tuned)["artefacts"]["supernet"])
        assert list((live.home.work / tuned).glob("trial-*")) == []

    def test_show_and_report_tell_trials_and_the_best(self, live, tuned, tmp_path):
        shown = live.nas("show", tuned).stdout
        assert "best" in shown
        assert shown.count("learning_rate") == TRIALS + 1
        write_report(collect(live.client, tuned), tmp_path)
        assert "![Trials](trials.png)" in (tmp_path / "report.md").read_text()

    def test_curves_lie_where_the_log_says(self, live, tuned):
        said = next(e.message for e in live.store.jobs.events(tuned) if e.kind == "logging")
        folder = live.home.logs / "tensorboard" / tuned
        assert str(folder) in said
        assert len(list(folder.iterdir())) == 3  # one for each driver

    def test_a_search_trains_with_what_was_found(self, live, tuned):
        best = Tuning.of(live.store.jobs.history(tuned)).best
        search = {**JOB, "kind": "train", "supernet": {"epochs": 1, "train_fraction": 0.5, "tuned": tuned}}
        job = live.client.submit({k: v for k, v in search.items() if k not in ("tune", "logging")}, dry_run=True)
        assert job["spec"]["supernet"]["learning_rate"] == best.parameters["learning_rate"]
        assert job["spec"]["supernet"]["augmentation"]["pad"] == best.parameters["pad"]

    def test_the_example_of_the_docs_finishes(self, live):
        spec = load_yaml((EXAMPLES / "digits-tune.yaml").read_text())
        client: Client = live.client
        assert live.ended(client.submit(spec)["id"])["state"] == "finished"
