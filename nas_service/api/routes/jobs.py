"""/jobs: submit and look."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.driver import job_view, launch_driver
from nas_service.api.job_request import job_request_schema, read_job
from nas_service.api.problems import problem_responses
from nas_service.api.tuned import with_tuned
from nas_service.api.validation import validate_job
from nas_service.api.views import JobList, JobPlan, JobView
from nas_service.job import JobSpec
from nas_service.store.tokens import Role


def jobs_router(context: Context) -> APIRouter:
    """Return the routes that submit and show jobs."""
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
        spec = with_tuned(spec, store.jobs)
        validate_job(spec, store.fleet, jobs=store.jobs, files=store.files, data=context.data, now=time.time())
        if dry_run:
            response.status_code = 200
            return JobPlan.of(spec)
        job = store.jobs.create(spec)
        launch_driver(context, job.id)
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{job.id}"
        return job_view(store, job.id)

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
        return job_view(store, job_id)

    return router
