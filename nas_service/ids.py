"""The ids of jobs and candidates: made and parsed here and nowhere else.

A job is `SLUG-RANDOM`, such as `cifar10-on-pi5-k3q7ab`: its name made safe for files and addresses, and six random
base32 characters. A candidate is `JOB-NUMBER`, such as `cifar10-on-pi5-k3q7ab-0007`, numbered from 1 within its job.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from nas_service.errors import InvalidRequestError

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_RANDOM_LENGTH = 6
_SLUG_LENGTH = 40
_JOB = re.compile(rf"(?P<slug>[a-z0-9]+(?:-[a-z0-9]+)*)-(?P<random>[a-z2-7]{{{_RANDOM_LENGTH}}})")
_CANDIDATE = re.compile(rf"(?P<job>{_JOB.pattern})-(?P<number>[0-9]{{4,9}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateName:
    """The two parts of a candidate's id."""

    job_id: str
    number: int


def new_job_id(name: str) -> str:
    """Return a fresh id for a job called `name`; two calls with the same name give different ids."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return f"{_slug(name)}-{random}"


def check_job_id(text: str) -> str:
    """Return `text` if it has the form of a job's id; it may still name none.

    Raises:
        InvalidRequestError: it has another form.
    """
    if len(text) > 64 or not _JOB.fullmatch(text):
        raise InvalidRequestError(
            f"{text!r} is no job id; one looks like digits-demo-k3q7ab, and `nas jobs` lists them"
        )
    return text


def candidate_id(job_id: str, number: int) -> str:
    """Return the id of candidate `number`, counted from 1, of a job."""
    if number < 1:
        raise InvalidRequestError(f"a candidate's number is {number} but must be at least 1")
    return f"{check_job_id(job_id)}-{number:04d}"


def parse_candidate_id(text: str) -> CandidateName:
    """Return the job and the number that a candidate's id names; it may still name none.

    Raises:
        InvalidRequestError: it has another form.
    """
    match = _CANDIDATE.fullmatch(text) if len(text) <= 80 else None
    if match is None or int(match["number"]) < 1 or f"{int(match['number']):04d}" != match["number"]:
        raise InvalidRequestError(
            f"{text!r} is no candidate id; one looks like digits-demo-k3q7ab-0007, and `nas front JOB` lists them"
        )
    return CandidateName(job_id=match["job"], number=int(match["number"]))


def _slug(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return words[:_SLUG_LENGTH].strip("-") or "job"
