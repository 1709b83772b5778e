from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from nas_service.job import parse_job
from nas_service.job_state import JobState

from .archive import beat, enrol, measure
from .conftest import Api, parquet_file

YAML = """
kind: search
name: from yaml
dataset: {name: digits}
space: {preset: micro}
supernet: {epochs: 1}
strategy: [{name: random, evaluations: 4}, {name: tpe, evaluations: 6}]
objectives: [error, macs]
"""


def submit(api: Api, spec: dict[str, Any]) -> str:
    answer = api.post("/api/v1/jobs", role="submitter", json=spec)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_submitted_job_is_kept_launched_and_found_at_its_location(api: Api, spec: dict[str, Any]) -> None:
    answer = api.post("/api/v1/jobs", role="submitter", json=spec)
    job_id = answer.json()["id"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/jobs/{job_id}"
    assert api.launcher.launched == [job_id]
    assert api.get(answer.headers["location"]).json()["state"] == "queued"


@pytest.mark.parametrize("content_type", ["application/yaml", "application/yaml; charset=utf-8", "text/yaml"])
def test_a_job_may_be_written_in_yaml(api: Api, content_type: str) -> None:
    answer = api.post("/api/v1/jobs", content=YAML, headers={"Content-Type": content_type})
    assert answer.status_code == 201
    assert [s["name"] for s in answer.json()["spec"]["strategy"]] == ["random", "tpe"]


def test_a_job_may_ask_for_any_coupling_of_its_preset(api: Api, spec: dict[str, Any]) -> None:
    changed = {**spec, "space": {"preset": "micro", "couplings": ["triangular"]}}
    answer = api.post("/api/v1/jobs", json=changed)
    assert (answer.status_code, answer.json()["spec"]["space"]["couplings"]) == (201, ["triangular"])


def test_a_dry_run_tells_what_would_run_and_keeps_nothing(api: Api) -> None:
    answer = api.post("/api/v1/jobs?dry_run=true", content=YAML, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 200
    assert (answer.json()["dry_run"], answer.json()["evaluations"]) == (True, 10)
    assert api.store.jobs.list() == []
    assert api.launcher.launched == []


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"strategy": {"name": "random", "evalutions": 8}}, "strategy.evalutions", "did you mean 'evaluations'?"),
        ({"objectives": ["error", "latency_ms@rpi6"]}, "objectives", "unknown board class 'rpi6'; known: rpi5"),
        ({"constraints": {"memory_kib@mcu": 5}}, "constraints.memory_kib@mcu", "unknown board class 'mcu'"),
        (
            {"dataset": {"name": "cifar10", "root": "/no/such/folder"}},
            "dataset.root",
            "'/no/such/folder' does not exist",
        ),
        ({"constraints": {"params": 10}}, "constraints", "no pair of space 'micro' meets it; the smallest has"),
        ({"supernet": {"checkpoint": "ab" * 32}}, "supernet.checkpoint", "no artefact"),
    ],
)
def test_what_cannot_work_is_refused_with_its_path(
    api: Api, spec: dict[str, Any], change: dict[str, Any], path: str, text: str
) -> None:
    enrol(api.store.fleet, "pi", board_class="rpi5", now=1000.0)
    answer = api.post("/api/v1/jobs", json={**spec, **change})
    assert answer.status_code == 422
    found = {e["path"]: e["message"] for e in answer.json()["errors"]}
    assert text in found[path]
    assert api.store.jobs.list() == []


def test_a_class_whose_boards_wait_to_enrol_is_refused_with_their_names(api: Api, spec: dict[str, Any]) -> None:
    for name, created_at in (("pi-1", time.time()), ("pi-2", time.time()), ("pi-3", 1000.0)):
        api.store.fleet.create_enrolment(name, board_class="rpi6", ttl_s=600.0, now=created_at)
    answer = api.post("/api/v1/jobs", json={**spec, "objectives": ["error", "latency_ms@rpi6"]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == (
        "latency_ms@rpi6: no board of class 'rpi6' has enrolled; 2 boards were added and wait to enrol (pi-1, pi-2): "
        "run `nas-edge enroll` there, with the code of `nas board add`"
    )


ENERGY = "energy_mj@rpi5"


@pytest.mark.parametrize("change", [{"objectives": ["error", ENERGY]}, {"constraints": {ENERGY: 5}}])
def test_energy_is_refused_where_every_board_says_that_it_has_no_sensor(
    api: Api, spec: dict[str, Any], change: dict[str, Any]
) -> None:
    enrol(api.store.fleet, "pi", board_class="rpi5", now=1000.0)
    beat(api.store.fleet, "pi", state="idle", now=1000.0, energy_sensor="none")
    answer = api.post("/api/v1/jobs", json={**spec, **change})
    [problem] = answer.json()["errors"]
    assert answer.status_code == 422
    assert "no board of class 'rpi5' has an energy sensor" in problem["message"]
    assert "`nas-edge doctor`" in problem["message"]


def test_energy_is_refused_where_an_older_board_has_measured_without_it(api: Api, spec: dict[str, Any]) -> None:
    fleet = api.store.fleet
    enrol(fleet, "pi", board_class="rpi5", now=1000.0)
    measure(fleet, structure_key="a" * 64, half="big", board="pi", board_class="rpi5", mean_ms=1.0, now=1000.0)
    assert api.post("/api/v1/jobs", json={**spec, "objectives": ["error", ENERGY]}).status_code == 422


@pytest.mark.parametrize("said", [None, "rapl"])
def test_energy_is_not_refused_where_one_board_may_have_a_sensor(
    api: Api, spec: dict[str, Any], said: str | None
) -> None:
    for name, sensor in (("pi-1", "none"), ("pi-2", said)):
        enrol(api.store.fleet, name, board_class="rpi5", now=1000.0)
        beat(api.store.fleet, name, state="idle", now=1000.0, energy_sensor=sensor)
    assert api.post("/api/v1/jobs?dry_run=1", json={**spec, "objectives": ["error", ENERGY]}).status_code == 200


def test_a_warm_start_from_what_does_not_compare_is_refused(api: Api, spec: dict[str, Any]) -> None:
    sha256 = api.store.files.put(b"weights")
    trained = {**spec, "supernet": {"checkpoint": sha256}}
    earlier = submit(api, trained)
    other = submit(api, {**trained, "router": "margin"})
    answer = api.post("/api/v1/jobs?dry_run=1", json={**trained, "warm_start": [earlier, other, "none"]})
    found = {e["path"]: e["message"] for e in answer.json()["errors"]}
    assert answer.status_code == 422
    assert set(found) == {"warm_start[1]", "warm_start[2]"}
    assert "has the router margin but this job has msp" in found["warm_start[1]"]
    assert found["warm_start[2]"] == "'none' is no job here; `nas jobs` lists them"


def test_all_that_is_wrong_is_named_at_once(api: Api, spec: dict[str, Any]) -> None:
    wrong = {"objectives": ["error", "latency_ms@pi"], "constraints": {"macs": 1}}
    errors = api.post("/api/v1/jobs", json={**spec, **wrong}).json()["errors"]
    assert {e["path"] for e in errors} == {"objectives", "constraints"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "the body is not JSON"),
        (b'{"kind": "search", "kind": "train"}', "key 'kind' appears twice"),
        (b'{"seed": NaN}', "NaN is no JSON number"),
        (b"[]", "a job is a mapping"),
        (b"[" * 100_000, "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_job_is_refused(api: Api, content: bytes, text: str) -> None:
    answer = api.post("/api/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert text in answer.json()["detail"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds no *.parquet file"),
        ({"a.parquet": parquet_file()[:-4]}, "holds a.parquet, which is no Parquet file or is cut short"),
        ({"a.parquet": b""}, "holds a.parquet, which is no Parquet file or is cut short"),
        ({"sub/a.parquet": parquet_file()}, None),
    ],
)
def test_parquet_folders_are_looked_at_before_the_job_starts(
    api: Api, spec: dict[str, Any], tmp_path: Path, files: dict[str, bytes], complaint: str | None
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    answer = api.post("/api/v1/jobs?dry_run=1", json={**spec, "dataset": {"name": "parquet", "root": str(root)}})
    assert answer.status_code == (200 if complaint is None else 422)
    assert complaint is None or complaint in answer.json()["detail"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"), None),
        (("train/a/1.jpg", "train/b/1.jpg"), "data has train/ but no test/ nor val/"),
        (("a/1.jpg", "b/notes.txt"), "data/b is a class without an image"),
        (("a/1.jpg",), "data has 1 class folder; a classifier needs at least 2"),
    ],
)
def test_image_folders_are_looked_at_before_the_job_starts(
    api: Api, spec: dict[str, Any], tmp_path: Path, names: tuple[str, ...], complaint: str | None
) -> None:
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    dataset = {"name": "folder", "root": str(tmp_path / "data"), "resolution": 32}
    answer = api.post("/api/v1/jobs?dry_run=1", json={**spec, "dataset": dataset})
    assert answer.status_code == (200 if complaint is None else 422)
    assert complaint is None or complaint in answer.json()["detail"]


def test_a_folders_resolution_counts_when_constraints_are_checked(
    api: Api, spec: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("data/a/1.jpg", "data/b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for resolution, status in ((32, 200), (224, 422)):
        dataset = {"name": "folder", "root": str(tmp_path / "data"), "resolution": resolution}
        changed = {**spec, "dataset": dataset, "constraints": {"macs": 2_000_000}}
        assert api.post("/api/v1/jobs?dry_run=1", json=changed).status_code == status


def test_a_job_whose_driver_cannot_start_is_kept_as_failed_and_can_be_resumed(api: Api, spec: dict[str, Any]) -> None:
    api.launcher.failure = "no cluster"
    answer = api.post("/api/v1/jobs", json=spec)
    assert answer.status_code == 503
    (job,) = api.store.jobs.list()
    assert (job.state, job.message) == (JobState.FAILED, "its driver could not be started: no cluster")
    api.launcher.failure = None
    assert api.post(f"/api/v1/jobs/{job.id}/resume").json()["state"] == "queued"


def test_jobs_come_newest_first_and_in_pages(api: Api, spec: dict[str, Any]) -> None:
    ids = [submit(api, spec) for _ in range(3)]
    page = api.get("/api/v1/jobs?limit=2").json()
    assert [j["id"] for j in page["jobs"]] == ids[:0:-1]
    rest = api.get(f"/api/v1/jobs?limit=2&before={page['next_before']}").json()
    assert ([j["id"] for j in rest["jobs"]], rest["next_before"]) == (ids[:1], None)


def test_stopping_asks_the_driver_and_leaves_the_state_to_it(api: Api, spec: dict[str, Any]) -> None:
    job_id = submit(api, spec)
    answer = api.post(f"/api/v1/jobs/{job_id}/stop", role="submitter")
    assert (answer.status_code, answer.json()["stop_requested"]) == (202, True)
    assert api.launcher.stopped == [job_id]
    assert answer.json()["state"] == "queued"


def test_stopping_a_job_whose_driver_is_gone_ends_it_at_once(api: Api, spec: dict[str, Any]) -> None:
    job_id = submit(api, spec)
    api.store.jobs.transition(job_id, JobState.SEARCHING)
    api.launcher.running.clear()
    assert api.post(f"/api/v1/jobs/{job_id}/stop").json()["state"] == "stopped"


def test_a_job_that_is_over_cannot_be_stopped(api: Api, spec: dict[str, Any]) -> None:
    job_id = submit(api, spec)
    api.store.jobs.transition(job_id, JobState.FAILED, "broke")
    answer = api.post(f"/api/v1/jobs/{job_id}/stop")
    assert answer.status_code == 409
    assert "is failed; only a job that is not over can be stopped" in answer.json()["detail"]


@pytest.mark.parametrize("state", [JobState.SEARCHING, JobState.FAILED, JobState.STOPPED])
def test_a_job_without_a_driver_is_resumed(api: Api, spec: dict[str, Any], state: JobState) -> None:
    job_id = submit(api, spec)
    api.store.jobs.transition(job_id, state, "x")
    api.launcher.running.clear()
    answer = api.post(f"/api/v1/jobs/{job_id}/resume", role="submitter")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert api.launcher.launched == [job_id, job_id]


def test_a_job_whose_driver_runs_is_not_resumed(api: Api, spec: dict[str, Any]) -> None:
    job_id = submit(api, spec)
    answer = api.post(f"/api/v1/jobs/{job_id}/resume")
    assert answer.status_code == 409
    assert "its driver runs; stop it first, or let it go on" in answer.json()["detail"]
    assert api.launcher.launched == [job_id]


@pytest.mark.parametrize("action", ["stop", "resume"])
def test_while_the_cluster_is_silent_the_caller_is_asked_to_try_again(
    api: Api, spec: dict[str, Any], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job_id: str) -> bool:
        raise ConnectionError("http://10.0.0.7:8265")

    job_id = submit(api, spec)
    monkeypatch.setattr(api.launcher, "alive", fail)
    answer = api.post(f"/api/v1/jobs/{job_id}/{action}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "10.0.0.7" not in answer.text


def test_a_finished_job_is_not_resumed(api: Api, spec: dict[str, Any]) -> None:
    job_id = submit(api, spec)
    for state in (JobState.SEARCHING, JobState.FINISHED):
        api.store.jobs.transition(job_id, state)
    api.launcher.running.clear()
    answer = api.post(f"/api/v1/jobs/{job_id}/resume")
    assert answer.status_code == 409
    assert "is finished and cannot become queued" in answer.json()["detail"]


def test_events_are_sent_from_the_first_to_the_end_of_the_job(api: Api) -> None:
    job = api.store.jobs.create(parse_job(YAML))
    api.store.jobs.append_event(job.id, "epoch", "epoch 1 of 1\nloss 0.5", {"loss": 0.5})
    api.store.jobs.transition(job.id, JobState.FAILED, "no memory")
    answer = api.get(f"/api/v1/jobs/{job.id}/events", role="viewer")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [(e["kind"], e["message"]) for e in events][1:] == [
        ("epoch", "epoch 1 of 1\nloss 0.5"),
        ("state", "no memory"),
    ]
    assert events[1]["data"] == {"loss": 0.5}


def test_events_go_on_after_the_last_one_that_was_seen(api: Api) -> None:
    job = api.store.jobs.create(parse_job(YAML))
    last = api.store.jobs.append_event(job.id, "note", "seen")
    api.store.jobs.append_event(job.id, "note", "new")
    answer = api.get(f"/api/v1/jobs/{job.id}/events?follow=false", headers={"Last-Event-ID": str(last)})
    assert [line for line in answer.text.splitlines() if line.startswith("id: ")] == [f"id: {last + 1}"]


def test_events_of_an_unknown_job_are_a_problem(api: Api) -> None:
    assert api.get("/api/v1/jobs/none-aaaaaa/events").status_code == 404
