"""`supernet: {tuned: JOB}` at submission: what is taken over, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nas_service.job import parse_job
from nas_service.job_state import JobState

from .conftest import Api

TUNE = {
    "kind": "tune",
    "name": "tuning",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "supernet": {"epochs": 2},
    "tune": {"trials": 2, "parameters": {"learning_rate": {"log": [0.01, 1.0]}, "distillation": {"uniform": [0, 1]}}},
}


def tuned(api: Api, *, finished: bool = True, **changes: Any) -> str:
    """A tuning in the store, its best trial the second."""
    jobs = api.store.jobs
    job_id = jobs.create(parse_job({**TUNE, **changes})).id
    for number, value in ((1, 0.5), (2, 0.8)):
        values = {"learning_rate": 0.1 * number, "distillation": 0.25}
        jobs.append_event(job_id, "trial", "", {"trial": number, "parameters": values, "parent": None})
        jobs.append_event(job_id, "rung", "", {"trial": number, "reached": 2, "value": value})
    if finished:
        jobs.transition(job_id, JobState.TRAINING)
        jobs.transition(job_id, JobState.FINISHED)
    return job_id


def submitted(api: Api, spec: dict[str, Any], job_id: str, **supernet: Any) -> Any:
    return api.post("/api/v1/jobs", json={**spec, "supernet": {"epochs": 3, "tuned": job_id, **supernet}})


def test_a_search_takes_the_best_trials_hyperparameters_and_keeps_its_own_epochs(api, spec):
    job_id = tuned(api)
    answer = submitted(api, spec, job_id, learning_rate=0.9, batch_size=32)
    supernet = answer.json()["spec"]["supernet"]
    assert (supernet["learning_rate"], supernet["cotraining"]["distillation"]) == (0.2, 0.25)
    assert (supernet["epochs"], supernet["batch_size"], supernet["tuned"]) == (3, 32, job_id)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"finished": False}, "which is queued; wait for it, or resume it, until it is finished"),
        ({"space": {"preset": "tiny"}}, "which has the space {'preset': 'tiny'} but this job has {'preset': 'micro'}"),
        ({"dataset": {"name": "cifar10", "root": "/data"}}, "which has the data set {'name': 'cifar10'"),
    ],
)
def test_a_tuning_that_does_not_fit_is_refused(api, spec, changes, expected):
    answer = submitted(api, spec, tuned(api, **changes))
    assert answer.status_code == 422
    assert expected in answer.text


def test_a_job_that_is_not_there_or_of_another_kind_is_refused(api, spec):
    assert "but there is no such job; `nas jobs` lists them" in submitted(api, spec, "nobody").text
    search = api.post("/api/v1/jobs", json=spec).json()["id"]
    assert "which is of kind 'search'; name a job of kind 'tune'" in submitted(api, spec, search).text


def test_logging_that_the_service_cannot_do_is_refused_at_submission(api, spec, monkeypatch):
    from nas_service import scalar_log

    monkeypatch.setattr(scalar_log, "EXTRAS", {"mlflow": "a_package_that_nobody_has"})
    answer = api.post("/api/v1/jobs", json={**spec, "logging": {"mlflow": "http://127.0.0.1:5000"}})
    assert answer.status_code == 422
    assert "logging.mlflow" in answer.text
