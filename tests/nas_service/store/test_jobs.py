from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.job import JobSpec, JobState
from nas_service.job_state import TRANSITIONS
from nas_service.store import Store
from nas_service.store.database import Database
from nas_service.store.jobs import Job, JobStore, Progress


@pytest.fixture
def ticking(database: Database) -> JobStore:
    """A store whose clock shows 1, 2, 3, ..."""
    ticks: Iterator[int] = itertools.count(1)
    return JobStore(database, clock=lambda: float(next(ticks)))


def test_a_created_job_is_queued_and_reads_back_whole(store: Store, spec: JobSpec) -> None:
    job = store.jobs.create(spec)
    assert (job.state, job.spec, job.spec_hash, job.kind) == (JobState.QUEUED, spec, spec.hash(), "search")
    assert job.id.startswith("digits-demo-")
    assert store.jobs.get(job.id) == job


def test_equal_specs_are_different_jobs(store: Store, spec: JobSpec) -> None:
    assert store.jobs.create(spec).id != store.jobs.create(spec).id


def test_jobs_are_listed_newest_first_and_paged_without_repeats(ticking: JobStore, spec: JobSpec) -> None:
    made = [ticking.create(spec).id for _ in range(5)]
    first = [job.id for job in ticking.list(limit=2)]
    rest = [job.id for job in ticking.list(before=first[-1])]
    assert first + rest == made[::-1]


def test_a_job_goes_from_queued_to_finished_and_notes_when(ticking: JobStore, spec: JobSpec) -> None:
    job = ticking.create(spec)
    for state in (JobState.TRAINING, JobState.SEARCHING, JobState.FINISHING):
        ticking.transition(job.id, state)
    done = ticking.transition(job.id, JobState.FINISHED, "24 candidates")
    assert (done.created_at, done.started_at, done.finished_at) == (1.0, 2.0, 5.0)
    assert (done.state, done.message) == (JobState.FINISHED, "24 candidates")


@pytest.mark.parametrize("state", list(JobState))
def test_only_the_ways_in_the_table_lead_on(store: Store, job: Job, state: JobState) -> None:
    for step in {JobState.FINISHED: [JobState.TRAINING]}.get(state, []) + [state] * (state is not JobState.QUEUED):
        store.jobs.transition(job.id, step)
    for to in set(JobState) - TRANSITIONS[state]:
        with pytest.raises(ConflictError, match=rf"is {state.value} and cannot become {to.value}; it"):
            store.jobs.transition(job.id, to)
    assert store.jobs.get(job.id).state is state


def test_resuming_forgets_the_end_but_not_the_start(ticking: JobStore, spec: JobSpec) -> None:
    job = ticking.create(spec)
    ticking.transition(job.id, JobState.TRAINING)
    ticking.set_submission(job.id, "raysubmit_1")
    ticking.request_stop(job.id)
    ticking.transition(job.id, JobState.STOPPED, "stopped by its owner")
    again = ticking.transition(job.id, JobState.QUEUED)
    assert (again.state, again.finished_at, again.message, again.submission_id) == (JobState.QUEUED, None, None, None)
    assert again.started_at == 2.0
    assert not ticking.stop_requested(job.id)


def test_a_stop_is_asked_for_once_or_twice_but_not_after_the_end(store: Store, job: Job) -> None:
    store.jobs.request_stop(job.id)
    store.jobs.request_stop(job.id)
    assert store.jobs.stop_requested(job.id)
    store.jobs.transition(job.id, JobState.STOPPED)
    with pytest.raises(ConflictError, match=r"is stopped; only a job that is not over can be stopped"):
        store.jobs.request_stop(job.id)


def test_what_is_noted_of_a_running_job_is_read_back(store: Store, job: Job) -> None:
    progress = Progress(phase="training", done=3, total=10, detail="loss 0.4")
    store.jobs.set_progress(job.id, progress)
    store.jobs.set_submission(job.id, "raysubmit_1")
    store.jobs.beat(job.id, now=12.5)
    store.jobs.set_artefact(job.id, "supernet", "a" * 64)
    store.jobs.set_artefact(job.id, "supernet", "b" * 64)
    read = store.jobs.get(job.id)
    assert (read.progress, read.submission_id, read.heartbeat_at) == (progress, "raysubmit_1", 12.5)
    assert read.artefacts == {"supernet": "b" * 64}
    assert [listed.artefacts for listed in store.jobs.list()] == [read.artefacts]


def test_events_grow_by_id_and_are_read_from_any_place(store: Store, job: Job, spec: JobSpec) -> None:
    other = store.jobs.create(spec)
    ids = [store.jobs.append_event(j.id, "epoch", f"{n}", {"loss": n}) for n in range(3) for j in (job, other)]
    assert ids == sorted(ids)
    events = store.jobs.events(job.id, after=ids[0])
    assert [(e.id, e.message, e.data) for e in events] == [(ids[2], "1", {"loss": 1}), (ids[4], "2", {"loss": 2})]
    assert [e.id for e in store.jobs.events(job.id, after=ids[0], limit=1)] == [ids[2]]


def test_every_change_of_state_is_an_event(store: Store, job: Job) -> None:
    store.jobs.transition(job.id, JobState.TRAINING)
    store.jobs.transition(job.id, JobState.FAILED, "no such column 'label'")
    assert [(e.kind, e.message, e.data) for e in store.jobs.events(job.id)] == [
        ("state", "queued", {"to": "queued"}),
        ("state", "training", {"from": "queued", "to": "training"}),
        ("state", "no such column 'label'", {"from": "training", "to": "failed"}),
    ]


def test_what_is_not_finite_is_refused_and_leaves_no_event(store: Store, job: Job) -> None:
    with pytest.raises(InvalidRequestError, match=r"a value cannot be stored: .*not JSON compliant"):
        store.jobs.append_event(job.id, "epoch", "1", {"loss": float("nan")})
    assert len(store.jobs.events(job.id)) == 1


def test_what_a_caller_does_to_a_read_job_stays_with_the_caller(store: Store, job: Job) -> None:
    store.jobs.get(job.id).artefacts["supernet"] = "x"
    job.spec.constraints["params"] = 1.0
    assert (store.jobs.get(job.id).artefacts, store.jobs.get(job.id).spec.constraints) == ({}, {})


@pytest.mark.parametrize(
    "ask",
    [
        lambda jobs: jobs.get("nobody"),
        lambda jobs: jobs.list(before="nobody"),
        lambda jobs: jobs.transition("nobody", JobState.FAILED),
        lambda jobs: jobs.set_progress("nobody", Progress(phase="training", done=0)),
        lambda jobs: jobs.set_submission("nobody", "x"),
        lambda jobs: jobs.set_artefact("nobody", "supernet", "x"),
        lambda jobs: jobs.beat("nobody"),
        lambda jobs: jobs.request_stop("nobody"),
        lambda jobs: jobs.stop_requested("nobody"),
        lambda jobs: jobs.append_event("nobody", "epoch", "1"),
        lambda jobs: jobs.events("nobody"),
    ],
)
def test_a_job_that_does_not_exist_is_not_found(store: Store, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(NotFoundError, match="no job 'nobody'; `nas jobs` lists them"):
        ask(store.jobs)


def test_progress_beyond_its_total_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="progress is 11 of 10 but must be 0 to the total"):
        Progress(phase="training", done=11, total=10)
