"""What every kind of job works with: its spec, the store, a folder, a log for curves, and the wish to stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_service.job import JobSpec
from nas_service.job_state import JobState
from nas_service.scalar_log import ScalarLog
from nas_service.store import Store
from nas_service.store.job_record import Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobContext:
    """One run of one job.

    Attributes:
        job_id: Its id.
        spec: What was asked for.
        store: All that must survive.
        work: The job's folder for checkpoints of what is not over.
        scalars: Takes losses, accuracies and hypervolumes.
    """

    job_id: str
    spec: JobSpec
    store: Store
    work: Path
    scalars: ScalarLog

    def enter(self, state: JobState) -> None:
        """Take the next state."""
        self.store.jobs.transition(self.job_id, state)

    def note(self, kind: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Append an event."""
        self.store.jobs.append_event(self.job_id, kind, message, data)

    def progress(self, phase: str, *, done: float, total: float, detail: str) -> None:
        """Say how far the present phase has come."""
        shown = Progress(phase=phase, done=done, total=max(total, done), detail=detail)
        self.store.jobs.set_progress(self.job_id, shown)

    def stop_requested(self) -> bool:
        """Return whether the user asked the job to stop."""
        return self.store.jobs.stop_requested(self.job_id)
