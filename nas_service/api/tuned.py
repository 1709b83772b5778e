"""`supernet: {tuned: JOB}`: the hyperparameters that another job found, put into a spec when it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import ValidationError

from nas_service.errors import NotFoundError
from nas_service.job import InvalidJobError, JobSpec, Problem
from nas_service.job_problem import problems_in
from nas_service.job_state import JobState
from nas_service.job_tune import with_parameters
from nas_service.store.job_record import Job, JobEvent
from nas_service.tuning import Tuning

PATH = "supernet.tuned"


class JobHistory(Protocol):
    """Knows jobs and all that happened in them; the store's jobs are."""

    def get(self, job_id: str) -> Job:
        """Return the job; raise NotFoundError if there is none."""

    def history(self, job_id: str) -> Sequence[JobEvent]:
        """Return all its events, in order."""


def with_tuned(spec: JobSpec, jobs: JobHistory) -> JobSpec:
    """Return the spec with the best hyperparameters of the job that it names; as it is if it names none.

    What was tuned replaces what the spec says; `supernet.tuned` stays, to tell where it came from.

    Raises:
        InvalidJobError: there is no such job, it is no finished tuning, or one of another space or data set.
    """
    if spec.supernet.tuned is None:
        return spec
    tuning = _tuning_for(spec, spec.supernet.tuned, jobs)
    assert tuning.best is not None
    try:
        supernet = with_parameters(spec.supernet, tuning.best.parameters)
    except ValidationError as error:
        raise InvalidJobError(
            [Problem(path=PATH, message=f"does not fit what else is said: {p}") for p in problems_in(error)]
        ) from None
    return JobSpec.parse(spec.model_copy(update={"supernet": supernet}).to_dict())


def _tuning_for(spec: JobSpec, job_id: str, jobs: JobHistory) -> Tuning:
    try:
        job = jobs.get(job_id)
    except NotFoundError:
        raise _refused(f"names {job_id!r}, but there is no such job; `nas jobs` lists them") from None
    if job.kind != "tune":
        raise _refused(f"names {job_id!r}, which is of kind {job.kind!r}; name a job of kind 'tune'")
    if job.state is not JobState.FINISHED:
        raise _refused(f"names {job_id!r}, which is {job.state.value}; wait for it, or resume it, until it is finished")
    for name, mine, theirs in (("data set", spec.dataset, job.spec.dataset), ("space", spec.space, job.spec.space)):
        if mine != theirs:
            raise _refused(
                f"names {job_id!r}, which has the {name} {theirs.model_dump(exclude_none=True)} but this job has "
                f"{mine.model_dump(exclude_none=True)}; what was tuned on one does not hold for another: tune again"
            )
    tuning = Tuning.of(jobs.history(job_id))
    if tuning.best is None:
        raise _refused(f"names {job_id!r}, none of whose trials reached an epoch; tune again")
    return tuning


def _refused(message: str) -> InvalidJobError:
    return InvalidJobError([Problem(path=PATH, message=message)])
