from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest

from nas_service.client import Client
from nas_service.commands import jobs
from nas_service.commands.jobs import audit_facts, silence_text
from nas_service.job_state import JobState
from nas_service.store.job_record import Progress


def submit(here, job_file, *arguments: str) -> str:
    outcome = here("submit", str(job_file), *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out.strip()


def test_submit_prints_only_the_new_jobs_id(here, live, job_file):
    job_id = submit(here, job_file)
    assert live.store.jobs.get(job_id).state is JobState.QUEUED
    assert job_id in live.launcher.running


def test_submit_sends_changed_values_and_an_absolute_root(here, live, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "job.yaml"
    path.write_text(
        "kind: search\nname: n\ndataset: {name: digits, root: images}\nspace: {preset: micro}\n"
        "supernet: {epochs: 2}\nstrategy: [{name: random, evaluations: 8}]\nobjectives: [error, macs]\n"
    )
    job_id = submit(here, path, "--set", "strategy.0.evaluations=3", "--set", "constraints.params=5e4")
    spec = live.store.jobs.get(job_id).spec
    assert spec.dataset.root == str(tmp_path / "images")
    assert spec.strategy[0].evaluations == 3
    assert spec.constraints == {"params": 50_000.0}


def test_dry_run_shows_what_would_run_and_creates_nothing(here, live, job_file):
    before = len(live.store.jobs.list(1000))
    plan = json.loads(here("submit", str(job_file), "--dry-run").out)
    assert plan["evaluations"] == 8
    assert len(live.store.jobs.list(1000)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: search\nnmae: x\n", "nmae: unknown key; did you mean 'name'?"),
        ("kind: [", "the YAML cannot be read at line"),
        ("- a list", "a job is a mapping of keys"),
        ("kind: search\nkind: train\n", "key 'kind' appears twice"),
    ],
)
def test_a_file_that_is_no_job_exits_2_before_anything_is_sent(nas, tmp_path, text, message):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    outcome = nas("submit", str(path))  # no service runs here, so nothing could have been sent
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert str(path) in outcome.err


def test_a_file_that_is_no_text_exits_2(nas, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no UTF-8 text" in nas("submit", str(path)).err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "--set got 'seed' but needs key.path=value"),
        ("strategy..x=1", "--set got 'strategy..x=1' but needs key.path=value"),
        ("name.x=1", "'x' has a str before it, which holds no keys"),
        ("seed=[", "--set seed: '[' is no value"),
        ("strategy.evalutions=3", "strategy.evalutions: unknown key; did you mean 'evaluations'?"),
    ],
)
def test_a_change_that_cannot_be_made_exits_2(nas, job_file, change, message):
    outcome = nas("submit", str(job_file), "--set", change)
    assert outcome.code == 2
    assert message in outcome.err


def test_what_only_the_service_can_refuse_exits_1(here, job_file):
    outcome = here("submit", str(job_file), "--set", "objectives=[error, latency_ms@rpi9]")
    assert (outcome.code, outcome.out) == (1, "")
    assert "rpi9" in outcome.err


def test_wait_shows_progress_on_stderr_until_the_job_ends(here, live, job_file, monkeypatch):
    monkeypatch.setattr("nas_service.commands.submit.POLL_S", 0.1)  # so that no phase falls between two looks
    driver = threading.Thread(target=play_driver, args=(live.store,))
    driver.start()
    outcome = here("submit", str(job_file), "--set", "name=waited for", "--wait")
    driver.join()
    assert outcome.code == 0
    assert outcome.out.strip().startswith("waited-for-")
    assert "training epochs 1/2" in outcome.err
    assert "finished after" in outcome.err


def play_driver(store) -> None:
    while not (mine := [job for job in store.jobs.list(5) if job.name == "waited for"]):
        time.sleep(0.02)
    job_id = mine[0].id
    store.jobs.transition(job_id, JobState.TRAINING)
    store.jobs.set_progress(job_id, Progress(phase="training", done=1, total=2))
    time.sleep(1.3)
    for state in (JobState.SEARCHING, JobState.FINISHING, JobState.FINISHED):
        store.jobs.transition(job_id, state)


def test_wait_for_a_job_that_fails_exits_1_with_its_message(here, live, job_file, monkeypatch):
    monkeypatch.setattr(
        live.launcher, "launch", lambda job_id: live.store.jobs.transition(job_id, JobState.FAILED, "bad data")
    )
    outcome = here("submit", str(job_file), "--wait")
    assert outcome.code == 1
    assert "failed" in outcome.err
    assert "bad data" in outcome.err


def test_ctrl_c_while_waiting_detaches_and_says_that_the_job_goes_on(here, live, job_file, monkeypatch):
    def interrupted(client: Client, job_id: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "job", interrupted)
    outcome = here("submit", str(job_file), "--wait")
    job_id = outcome.out.strip()
    assert outcome.code == 1
    assert f"detached; {job_id} goes on" in outcome.err
    assert live.store.jobs.get(job_id).state is JobState.QUEUED


def test_jobs_lists_newest_first_as_table_and_json(here, search, job_file):
    newest = submit(here, job_file)
    table = here("jobs").out.splitlines()
    assert table[0].split() == ["JOB", "KIND", "STATE", "PROGRESS", "CREATED"]
    assert table[1].startswith(newest)
    ids = [job["id"] for job in json.loads(here("jobs", "--json").out)]
    assert ids.index(newest) < ids.index(search)


def test_show_tells_state_and_counts(here, search):
    text = here("show", search).out
    assert "state       finished" in text
    assert "candidates  5 finished, 1 failed" in text
    assert "strategies  random (8)" in text
    assert f"finalists   candidate 2 (fetch one: nas get {search} NUMBER -o DIR)" in text


def test_logs_prints_the_events_so_far(here, search):
    lines = here("logs", search).out.splitlines()
    assert any("epoch 2" in line for line in lines)
    as_json = [json.loads(line) for line in here("logs", search, "--json").out.splitlines()]
    assert len(as_json) == len(lines)
    assert [e["id"] for e in as_json] == sorted(e["id"] for e in as_json)


def test_logs_follow_a_job_until_it_ends(here, live, job_file):
    job_id = submit(here, job_file)

    def end() -> None:
        time.sleep(0.4)
        live.store.jobs.append_event(job_id, "note", "the last word")
        live.store.jobs.transition(job_id, JobState.FAILED, "over")

    thread = threading.Thread(target=end)
    thread.start()
    outcome = here("logs", job_id, "-f")
    thread.join()
    assert outcome.code == 0
    assert outcome.out.count("the last word") == 1


def test_who_follows_a_job_without_a_driver_is_told_so(here, live, job_file, monkeypatch):
    monkeypatch.setattr(jobs, "SILENT_S", 0.0)
    job_id = submit(here, job_file)
    live.store.jobs.transition(job_id, JobState.TRAINING)
    ends = threading.Timer(0.4, lambda: live.store.jobs.transition(job_id, JobState.FAILED, "over"))
    ends.start()
    outcome = here("logs", job_id, "-f")
    ends.join()
    assert f"continue it with `nas resume {job_id}`" in outcome.err


def test_stop_then_resume(here, live, job_file):
    job_id = submit(here, job_file)
    assert "is asked to stop" in here("stop", job_id).err
    live.store.jobs.transition(job_id, JobState.STOPPED)
    assert "goes on" in here("resume", job_id).err
    assert live.store.jobs.get(job_id).state is JobState.QUEUED


def test_resuming_a_job_whose_driver_runs_is_refused(here, job_file):
    outcome = here("resume", submit(here, job_file))
    assert outcome.code == 1
    assert "its driver runs" in outcome.err


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"heartbeat_at": 990.0}, False),
        ({"heartbeat_at": None}, True),
        ({"state": "finished"}, False),
        ({"state": "queued"}, False),
    ],
)
def test_a_job_whose_driver_is_silent_is_named_with_what_to_do(changes, warned):
    job = {"id": "digits-abcdef", "state": "searching", "started_at": 100.0, "heartbeat_at": 800.0, **changes}
    text = silence_text(job, now_unix_s=1000.0)
    assert (text is not None) == warned
    assert text is None or "`nas resume digits-abcdef`" in text


def test_the_audit_that_is_shown_holds_boards_figures_against_each_other():
    def finalist(number):
        keys = {"little": f"l{number}", "big": f"b{number}"}
        point = {"test": {"accuracy": 0.9, "escalation_rate": 0.5, "expected_cost": {"latency_ms@pi": 2.5}}}
        again = {"pi": {**keys, "pair-fp32": "p"}}
        final = {"accuracies": {"big": 95.0}, "operating_points": [point], "measurements": again}
        return {"id": f"c-{number}", "accuracies": {}, "finalist": True, "measurements": {"pi": keys}, "final": final}

    measured = [{"measurement_key": f"{half}{n}", "status": "ok", "latency": {"mean_ms": ms}}
                for half, ms in (("l", 1.0), ("b", 2.0)) for n in (1, 2)]  # fmt: skip
    client = SimpleNamespace(
        candidates=lambda job: [finalist(1), finalist(2)], measurements=lambda: measured, past_events=lambda job: []
    )
    facts = audit_facts(client, "job-1")
    assert facts[0][1].startswith("latency_ms@pi: halves put together against the pair whole: off by 20.0 %")
