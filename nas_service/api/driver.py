"""A job and the driver that works on it: started, looked for, and missed."""

from __future__ import annotations

import logging

from nas_service.api.context import Context
from nas_service.api.views import JobView
from nas_service.errors import ConflictError, RetryableError
from nas_service.job_state import JobState
from nas_service.store import Store

LOG = logging.getLogger(__name__)


def job_view(store: Store, job_id: str) -> JobView:
    """Return the job with how many of its candidates have each status."""
    return JobView.of(store.jobs.get(job_id), store.candidates.count(job_id))


def driver_alive(context: Context, job_id: str) -> bool:
    """Return whether a driver of the job is starting or running.

    Raises:
        RetryableError: the cluster does not say.
    """
    try:
        return context.launcher.alive(job_id)
    except Exception as error:
        LOG.warning("cannot tell whether the driver of %s runs", job_id, exc_info=error)
        raise RetryableError(f"whether the driver of job {job_id} runs cannot be told now; try again") from error


def launch_driver(context: Context, job_id: str) -> None:
    """Start the driver of a queued job; a job whose driver cannot start is kept as failed.

    Raises:
        RetryableError: it could not be started.
    """
    try:
        context.launcher.launch(job_id)
    except Exception as error:
        context.store.jobs.transition(job_id, JobState.FAILED, f"its driver could not be started: {error}")
        raise RetryableError(
            f"job {job_id} is kept but its driver could not be started; `nas show` says why, `nas resume` tries again"
        ) from error


def settle_stop(store: Store, job_id: str) -> None:
    """End a job that was asked to stop and has no driver which could end it."""
    try:
        store.jobs.transition(job_id, JobState.STOPPED, "stopped while no driver ran")
    except ConflictError:
        if not store.jobs.get(job_id).state.over:  # else its driver ended it in between
            raise
