"""What a search session is about."""

from __future__ import annotations

from dataclasses import dataclass

from nas_service.job import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One strategy of one job.

    Attributes:
        spec: The job.
        job_id: Its id.
        strategy_index: Which of its strategies.
    """

    spec: JobSpec
    job_id: str
    strategy_index: int = 0
