"""A candidate: one pair architecture of a job, what it cost, what it scored, and what the searcher was told."""

from __future__ import annotations

import base64
import copy
import dataclasses
import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas_service.errors import InvalidRequestError

VERSION = 1


class CandidateStatus(enum.Enum):
    """How far a candidate has come."""

    ASKED = "asked"
    EVALUATED = "evaluated"
    FINISHED = "finished"
    FAILED = "failed"

    def may_become(self, to: CandidateStatus) -> bool:
        """Return whether a candidate of this status may take the other one."""
        return to in TRANSITIONS[self]


TRANSITIONS: dict[CandidateStatus, frozenset[CandidateStatus]] = {
    # An evaluated candidate waits for boards; without any it finishes at once.
    CandidateStatus.ASKED: frozenset({CandidateStatus.EVALUATED, CandidateStatus.FINISHED, CandidateStatus.FAILED}),
    CandidateStatus.EVALUATED: frozenset({CandidateStatus.FINISHED, CandidateStatus.FAILED}),
    CandidateStatus.FINISHED: frozenset(),
    CandidateStatus.FAILED: frozenset(),
}

PREDICTED = "predicted"
FINALIST_FIELDS = frozenset({"finalist", "bundle_sha256", "final"})


class Proposal(NamedTuple):
    """What a strategy asks for: the point, and what its layers alone tell."""

    architecture: dict[str, Any]
    phenotype: str
    costs: dict[str, float]
    structures: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One pair architecture of a job. Unknown is None or an absent key.

    Attributes:
        id: the id made by `nas_service.ids.candidate_id`.
        job_id: the job it belongs to.
        number: its place in the job, from 1, without gaps.
        strategy_index: which of the job's strategies asked for it, from 0.
        strategy: that strategy's name.
        architecture: choice by gene name.
        phenotype: the canonical key; two candidates of a job never share one.
        status: how far it has come.
        costs: little_macs, tail_macs, worst_macs, params, weights_kib, from the layer records.
        structures: weight-free SHA-256 keys of the halves, `little` and `big`.
        accuracies: little, big (0 to 100 %), n, the number of images, and of, how many there are.
        curve: the `.npz` of its accuracy at every threshold.
        measurements: measurement key by half by board class.
        values: what the searcher was told: points of the curve, objective -> number, and `threshold`, a number or
            `never` or `always`; `predicted` names the board classes whose costs were predicted and not measured.
        error: why it failed.
        seconds: what it took, by step.
        finalist: whether it was chosen to be finished and bundled.
        bundle_sha256: its bundle in the file store.
        final: what a finalist promises and how it came out.
        split_hashes: SHA-256 by data split that it was scored on.
        created_at: unix time, seconds.
        finished_at: unix time, seconds.
    """

    id: str
    job_id: str
    number: int
    strategy_index: int
    strategy: str
    architecture: dict[str, Any]
    phenotype: str
    status: CandidateStatus = CandidateStatus.ASKED
    costs: dict[str, float] = field(default_factory=dict)
    structures: dict[str, str] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    curve: bytes | None = None
    measurements: dict[str, dict[str, str]] = field(default_factory=dict)
    values: tuple[dict[str, float | str], ...] = ()
    error: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    finalist: bool = False
    bundle_sha256: str | None = None
    final: dict[str, Any] = field(default_factory=dict)
    split_hashes: dict[str, str] = field(default_factory=dict)
    created_at: float
    finished_at: float | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise InvalidRequestError(f"candidate {self.id}: number is {self.number} but must be at least 1")
        if self.status is CandidateStatus.FAILED and not self.error:
            raise InvalidRequestError(f"candidate {self.id}: a failed candidate must say why; set `error`")
        if self.bundle_sha256 is not None and not self.finalist:
            raise InvalidRequestError(f"candidate {self.id}: only finalists have bundles; set `finalist`")
        for f in dataclasses.fields(self):  # a candidate shares no dict with whoever made it
            value = getattr(self, f.name)
            if isinstance(value, dict):
                object.__setattr__(self, f.name, copy.deepcopy(value))
        object.__setattr__(self, "values", tuple(dict(point) for point in self.values))

    @property
    def over(self) -> bool:
        """Whether nothing but the finalist fields may still change."""
        return not TRANSITIONS[self.status]

    @property
    def predicted(self) -> bool:
        """Whether what the searcher was told rests on predicted costs."""
        return any(PREDICTED in point for point in self.values)

    @property
    def partial(self) -> bool:
        """Whether its evaluation ended early, so that its curve is of some of the images only."""
        return self.accuracies.get("n", 0.0) < self.accuracies.get("of", 0.0)

    @property
    def estimated(self) -> bool:
        """Whether what the searcher was told is not what a front may show: costs or accuracies are estimates."""
        return self.predicted or self.partial

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as JSON-able data (the curve in base64), the exact inverse of `from_dict`."""
        data = {f.name: copy.deepcopy(getattr(self, f.name)) for f in dataclasses.fields(self)}
        data["version"] = VERSION
        data["status"] = self.status.value
        data["values"] = [dict(point) for point in self.values]
        data["curve"] = None if self.curve is None else base64.b64encode(self.curve).decode()
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Candidate:
        """Return the candidate that `data` holds.

        Raises:
            InvalidRequestError: another version, unknown or missing keys, or an unknown status.
        """
        names = {f.name for f in dataclasses.fields(cls)}
        if data.get("version") != VERSION:
            raise InvalidRequestError(f"a candidate has version {data.get('version')!r} but this code reads {VERSION}")
        if unknown := sorted(set(data) - names - {"version"}):
            raise InvalidRequestError(f"a candidate has unknown keys: {', '.join(unknown)}")
        if missing := sorted(names - set(data)):
            raise InvalidRequestError(f"a candidate lacks keys: {', '.join(missing)}")
        given = {name: data[name] for name in names}
        given["status"] = _status(data["status"])
        given["values"] = tuple(data["values"])
        given["curve"] = None if data["curve"] is None else base64.b64decode(data["curve"], validate=True)
        return cls(**given)


def _status(text: str) -> CandidateStatus:
    try:
        return CandidateStatus(text)
    except ValueError:
        allowed = ", ".join(status.value for status in CandidateStatus)
        raise InvalidRequestError(f"a candidate's status is {text!r} but must be one of: {allowed}") from None
