"""Every step of a search's curve is logged once, over strategies and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.job_context import JobContext
from cluster.search_curve import SearchCurve
from nas_service.candidate import CandidateStatus
from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.store import Store
from tests.cluster.test_tune_job import candidate
from tests.nas_service.api.archive import add_candidate


class Steps:
    """A log that remembers which steps it was given."""

    def __init__(self):
        self.logged = []

    def log(self, step, figures):
        self.logged.append(step)

    def close(self):
        """Nothing."""


@pytest.fixture
def job(tmp_path: Path):
    spec = parse_job(
        {
            "kind": "search", "name": "a", "dataset": {"name": "digits"}, "space": {"preset": "micro"},
            "supernet": {"epochs": 1}, "strategy": {"name": "random", "evaluations": 6}, "objectives": ["error"],
        }
    )  # fmt: skip
    with Store.open(Home(tmp_path / "home").create()) as store:
        made = store.jobs.create(spec)
        yield JobContext(job_id=made.id, spec=spec, store=store, work=tmp_path, scalars=Steps())


def finish(job, *numbers):
    for number in numbers:
        add_candidate(job.store, job.job_id, number, values=({"error": 10.0 + number, "threshold": 0.5},))


def test_a_curve_made_anew_after_a_resume_logs_only_what_came_since(job):
    first = SearchCurve(job)
    finish(job, 1, 2)
    first.update()
    finish(job, 3)
    first.update()
    resumed = SearchCurve(job)
    resumed.update()
    finish(job, 4)
    resumed.update()
    assert job.scalars.logged == [1, 2, 3, 4]


def test_a_candidate_that_failed_counts_as_an_evaluation_and_brings_nothing():
    told = [candidate(n, 50.0 - n, 10.0 - n) for n in range(1, 7)]
    told[4] = replace(told[4], status=CandidateStatus.FAILED, error="its outputs are not finite", values=())
    held, logged = [], {}
    job = SimpleNamespace(
        job_id="j",
        store=SimpleNamespace(candidates=SimpleNamespace(list=lambda job_id: held)),
        scalars=SimpleNamespace(log=lambda step, figures: logged.update({step: figures})),
        spec=SimpleNamespace(objectives=("error", "macs")),
    )
    curve = SearchCurve(job)
    held.extend(told)
    curve.update()
    assert list(logged) == [1, 2, 3, 4, 5, 6]
    assert logged[5]["search/hypervolume"] == logged[4]["search/hypervolume"] < logged[6]["search/hypervolume"]
    assert logged[6]["search/wall_seconds"] == 6.0
