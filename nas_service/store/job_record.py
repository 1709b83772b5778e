"""What the store tells of a job: the job itself, its progress and its events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.job import JobSpec
from nas_service.job_state import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job's present phase has come.

    Attributes:
        phase: training, searching, measuring, finishing.
        done: steps done, such as epochs or candidates.
        total: steps in all, None if unknown.
        detail: one line for people.
    """

    phase: str
    done: float
    total: float | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.done < 0 or (self.total is not None and self.done > self.total):
            raise InvalidRequestError(f"progress is {self.done} of {self.total} but must be 0 to the total")

    def to_dict(self) -> dict[str, Any]:
        """Return the progress as JSON-able data; `Progress(**data)` is the inverse."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something that happened in a job; `id` grows, `at` is unix seconds."""

    id: int
    job_id: str
    at: float
    kind: str
    message: str
    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON-able data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the store knew it when asked; times are unix seconds, None for what has not happened.

    Attributes:
        message: why it is in its state, if something was said.
        submission_id: under which the cluster runs its driver.
        heartbeat_at: when its driver was last heard of.
        artefacts: SHA-256 by name, such as `supernet`.
    """

    id: str
    name: str
    kind: str
    state: JobState
    spec: JobSpec
    spec_hash: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    message: str | None
    progress: Progress | None
    submission_id: str | None
    stop_requested: bool
    heartbeat_at: float | None
    artefacts: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON-able data."""
        data = {name: getattr(self, name) for name in self.__slots__}
        data["state"] = self.state.value
        data["spec"] = self.spec.to_dict()
        data["progress"] = None if self.progress is None else self.progress.to_dict()
        data["artefacts"] = dict(self.artefacts)
        return data
