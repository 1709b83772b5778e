"""/jobs/{id}: stop, resume, follow."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.driver import driver_alive, job_view, launch_driver, settle_stop
from nas_service.api.event_stream import stream_events
from nas_service.api.problems import problem_responses
from nas_service.api.views import JobView
from nas_service.errors import ConflictError
from nas_service.job_state import JobState
from nas_service.store.tokens import Role

MAX_EVENT_ID = 2**63 - 1


def job_control_router(context: Context) -> APIRouter:
    """Return the routes that stop, resume and follow a job."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    store = context.store

    @router.post("/{job_id}/stop", status_code=202, dependencies=[require(Role.SUBMITTER)],
                 responses=problem_responses(404, 409, 503))  # fmt: skip
    def stop(job_id: str) -> JobView:
        """Ask a job to stop; what it has found stays."""
        store.jobs.request_stop(job_id)
        if driver_alive(context, job_id):
            context.launcher.stop(job_id)
        else:
            settle_stop(store, job_id)
        return job_view(store, job_id)

    @router.post("/{job_id}/resume", status_code=202, dependencies=[require(Role.SUBMITTER)],
                 responses=problem_responses(404, 409, 503))  # fmt: skip
    def resume(job_id: str) -> JobView:
        """Continue a job that stopped, failed, or whose driver died; nothing that was measured is repeated."""
        job = store.jobs.get(job_id)
        # The driver of a job that is over may take seconds to exit, but it has nothing left to write.
        if not job.state.over and driver_alive(context, job_id):
            raise ConflictError(
                f"job {job_id} is {job.state.value} and its driver runs; stop it first, or let it go on"
            )
        if job.state is not JobState.QUEUED:
            store.jobs.transition(job_id, JobState.QUEUED, "resumed")
        launch_driver(context, job_id)
        return job_view(store, job_id)

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
