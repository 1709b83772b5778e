"""The kinds of job: what runs for each. A new kind is a class with `run` in a file of its own, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cluster.compare_job import CompareJob
from cluster.job_context import JobContext
from cluster.measure_job import MeasureJob
from cluster.search_job import SearchJob, TrainJob
from cluster.tune_job import TuneJob


class Kind(Protocol):
    """One job of a kind, from whatever its last run left."""

    def run(self) -> str | None:
        """Run it to its end, and return what the user should know of the outcome, if anything.

        Raises:
            StopRequestedError: it stops before its end; what was done is kept.
            NasError: it failed, and says why.
        """


KINDS: dict[str, Callable[[JobContext], Kind]] = {
    "search": SearchJob,
    "train": TrainJob,
    "tune": TuneJob,
    "compare": CompareJob,
    "measure": MeasureJob,
}
