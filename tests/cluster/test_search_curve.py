"""Every step of a search's curve is logged once, over strategies and resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.job_context import JobContext
from cluster.search_curve import SearchCurve
from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.store import Store
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
