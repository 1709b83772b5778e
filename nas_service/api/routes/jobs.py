"""/jobs: submit, look, follow, stop, resume."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.event_stream import stream_events
from nas_service.api.job_request import job_request_schema, read_job
from nas_service.api.problems import problem_responses
from nas_service.api.validation import validate_job
from nas_service.api.views import JobList, JobPlan, JobView
from nas_service.errors import ConflictError, RetryableError
from nas_service.job import JobSpec
from nas_service.job_state import JobState
from nas_service.store import Store
from nas_service.store.tokens import Role

LOG = logging.getLogger(__name__)

MAX_EVENT_ID = 2**63 - 1


def jobs_router(context: Context) -> APIRouter:
    """Return the routes of /jobs."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    store = context.store

    @router.post(
        "",
        status_code=201,
        response_model=JobView | JobPlan,
        dependencies=[require(Role.SUBMITTER)],
        responses={200: {"model": JobPlan, "description": "What would run"}, **problem_responses(413, 415, 422, 503)},
        openapi_extra={"requestBody": job_request_schema()},
    )
    def submit(
        request: Request,
        response: Response,
        spec: Annotated[JobSpec, Depends(read_job)],
        dry_run: Annotated[bool, Query(description="Only say what would run")] = False,
    ) -> JobView | JobPlan:
        """Check a job and start it."""
        validate_job(spec, store.fleet, files=store.files, data=context.data)
        if dry_run:
            response.status_code = 200
            return JobPlan.of(spec)
        job = store.jobs.create(spec)
        _launch(context, job.id)
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{job.id}"
        return _view(store, job.id)

    @router.get("", dependencies=[require(Role.VIEWER)], responses=problem_responses(404, 422))
    def list_jobs(
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        before: Annotated[str | None, Query(description="The id of a job: only older ones")] = None,
    ) -> JobList:
        """List the jobs, newest first."""
        jobs = store.jobs.list(limit, before)
        return JobList(jobs=[JobView.of(job) for job in jobs], next_before=jobs[-1].id if len(jobs) == limit else None)

    @router.get("/{job_id}", dependencies=[require(Role.VIEWER)], responses=problem_responses(404))
    def show(job_id: str) -> JobView:
        """Show one job, with how many of its candidates have each status."""
        return _view(store, job_id)

    @router.post("/{job_id}/stop", status_code=202, dependencies=[require(Role.SUBMITTER)],
                 responses=problem_responses(404, 409))  # fmt: skip
    def stop(job_id: str) -> JobView:
        """Ask a job to stop; what it has found stays."""
        store.jobs.request_stop(job_id)
        if _alive(context, job_id):
            context.launcher.stop(job_id)
        else:
            _settle(store, job_id)
        return _view(store, job_id)

    @router.post("/{job_id}/resume", status_code=202, dependencies=[require(Role.SUBMITTER)],
                 responses=problem_responses(404, 409, 503))  # fmt: skip
    def resume(job_id: str) -> JobView:
        """Continue a job that stopped, failed, or whose driver died; nothing that was measured is repeated."""
        job = store.jobs.get(job_id)
        if _alive(context, job_id):
            raise ConflictError(
                f"job {job_id} is {job.state.value} and its driver runs; stop it first, or let it go on"
            )
        if job.state is not JobState.QUEUED:
            store.jobs.transition(job_id, JobState.QUEUED, "resumed")
        _launch(context, job_id)
        return _view(store, job_id)

    @router.get("/{job_id}/events", dependencies=[require(Role.VIEWER)], response_class=StreamingResponse,
                responses={200: {"content": {"text/event-stream": {}}}, **problem_responses(404)})  # fmt: skip
    def events(
        job_id: str,
        last_event_id: Annotated[int, Header(ge=0, le=MAX_EVENT_ID, description="Only events after this one")] = 0,
        follow: Annotated[bool, Query(description="Wait for events to come, until the job ends")] = True,
    ) -> StreamingResponse:
        """Follow a job's events (server-sent), from the first or after `Last-Event-ID`, until the job ends."""
        store.jobs.get(job_id)
        stream = stream_events(store.jobs, job_id, after=last_event_id, follow=follow)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return router


def _view(store: Store, job_id: str) -> JobView:
    return JobView.of(store.jobs.get(job_id), store.candidates.count(job_id))


def _alive(context: Context, job_id: str) -> bool:
    try:
        return context.launcher.alive(job_id)
    except Exception as error:
        LOG.warning("cannot tell whether the driver of %s runs", job_id, exc_info=error)
        raise RetryableError(f"whether the driver of job {job_id} runs cannot be told now; try again") from error


def _launch(context: Context, job_id: str) -> None:
    try:
        context.launcher.launch(job_id)
    except Exception as error:
        context.store.jobs.transition(job_id, JobState.FAILED, f"its driver could not be started: {error}")
        raise RetryableError(
            f"job {job_id} is kept but its driver could not be started; `nas show` says why, `nas resume` tries again"
        ) from error


def _settle(store: Store, job_id: str) -> None:
    """End a job that has no driver which could."""
    try:
        store.jobs.transition(job_id, JobState.STOPPED, "stopped while no driver ran")
    except ConflictError:
        if not store.jobs.get(job_id).state.over:  # else its driver ended it in between
            raise
