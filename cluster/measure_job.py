"""Jobs of kind `measure`: boards measure well-chosen pairs of a space."""

from __future__ import annotations

from cluster.job_context import JobContext
from cluster.space_table import SpaceTable
from nas_service.job_state import JobState


class MeasureJob:
    """Measures a space on the classes that the job's objectives name.

    Args:
        job: What to work with.
    """

    def __init__(self, job: JobContext) -> None:
        self._job = job

    def run(self) -> None:
        """Measure what is not known yet; errors as of `SpaceTable.measure`."""
        self._job.enter(JobState.SEARCHING)
        SpaceTable(self._job, self._job.spec.board_classes()).measure()
