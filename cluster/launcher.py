"""Runs jobs' drivers as Ray jobs on the head node."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

_LIVE = (JobStatus.PENDING, JobStatus.RUNNING)


class RayLauncher:
    """Submits `python -m cluster.driver JOB`; at most one driver of a job lives at a time.

    Args:
        dashboard_url: Ray's job server; Ray's token comes from the environment.
        home: NAS_HOME on the head, absolute.
    """

    def __init__(self, dashboard_url: str, *, home: Path) -> None:
        self._url, self._home = dashboard_url, home
        self._client: JobSubmissionClient | None = None

    def _jobs(self) -> JobSubmissionClient:
        if self._client is None:
            self._client = JobSubmissionClient(self._url)
        return self._client

    def launch(self, job_id: str) -> None:
        """Start the driver of a queued job, in the background."""
        command = [sys.executable, "-m", "cluster.driver", job_id, "--home", str(self._home)]
        self._jobs().submit_job(
            entrypoint=shlex.join(command),
            submission_id=f"{job_id}-{time.time_ns():x}",
            metadata={"nas_job": job_id},
        )

    def stop(self, job_id: str) -> None:
        """Do nothing more: a driver looks for the wish to stop between epochs and candidates, and keeps what it has."""

    def stop_all(self, *, timeout_s: float = 15.0) -> list[str]:
        """End every driver, whatever it does, and return their jobs; what they had finished is in the store."""
        live = [j for j in self._jobs().list_jobs() if j.metadata and "nas_job" in j.metadata and j.status in _LIVE]
        for job in live:
            self._jobs().stop_job(job.submission_id or "")
        give_up_at = time.monotonic() + timeout_s
        ended = [job.metadata["nas_job"] for job in live if job.metadata]
        while any(self.alive(job_id) for job_id in ended) and time.monotonic() < give_up_at:
            time.sleep(0.2)
        return ended

    def alive(self, job_id: str) -> bool:
        """Return whether a driver of the job is starting or running now."""
        return any(
            j.metadata and j.metadata.get("nas_job") == job_id and j.status in _LIVE for j in self._jobs().list_jobs()
        )
