from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from nas_service.candidate import TRANSITIONS, Candidate, CandidateStatus
from nas_service.errors import InvalidRequestError


@pytest.fixture
def candidate() -> Candidate:
    return Candidate(
        id="digits-demo-k3q7ab-0007",
        job_id="digits-demo-k3q7ab",
        number=7,
        strategy_index=1,
        strategy="nsga2",
        architecture={"coupling": "stem", "width": 16},
        phenotype='{"coupling":"stem"}',
        status=CandidateStatus.FINISHED,
        curve=b"\x00\xff",
        measurements={"local": {"little": "a" * 64}},
        values=({"error": 7.5, "threshold": "never"}, {"error": 5.0, "threshold": 0.25}),
        final={"points": [{"name": "iso-0.5"}]},
        finalist=True,
        created_at=1.0,
    )


def test_a_candidate_goes_through_json_unchanged(candidate: Candidate) -> None:
    assert Candidate.from_dict(json.loads(json.dumps(candidate.to_dict()))) == candidate
    assert Candidate.from_dict(replace(candidate, curve=None).to_dict()).curve is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "a candidate has version 2 but this code reads 1"),
        ({"colour": "red"}, "a candidate has unknown keys: colour"),
        ({"status": "lost"}, "status is 'lost' but must be one of: asked, evaluated, finished, failed"),
        ({"number": 0}, "number is 0 but must be at least 1"),
    ],
)
def test_what_is_no_candidate_is_refused(candidate: Candidate, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Candidate.from_dict(candidate.to_dict() | change)


def test_a_missing_key_is_refused(candidate: Candidate) -> None:
    data = candidate.to_dict()
    del data["costs"]
    with pytest.raises(InvalidRequestError, match="a candidate lacks keys: costs"):
        Candidate.from_dict(data)


def test_a_candidate_shares_nothing_with_who_made_or_reads_it(candidate: Candidate) -> None:
    architecture = {"depths": [1, 2]}
    made = replace(candidate, architecture=architecture)
    architecture["depths"].append(3)
    made.to_dict()["final"]["points"].clear()
    assert (made.architecture, len(made.final["points"])) == ({"depths": [1, 2]}, 1)
    with pytest.raises(FrozenInstanceError):
        made.number = 8  # type: ignore[misc]


def test_a_failed_candidate_says_why(candidate: Candidate) -> None:
    with pytest.raises(InvalidRequestError, match="a failed candidate must say why; set `error`"):
        replace(candidate, status=CandidateStatus.FAILED)


def test_only_a_finalist_has_a_bundle(candidate: Candidate) -> None:
    with pytest.raises(InvalidRequestError, match="only finalists have bundles; set `finalist`"):
        replace(candidate, finalist=False, bundle_sha256="a" * 64)


def test_a_status_only_goes_forwards() -> None:
    order = list(CandidateStatus)
    assert all(order.index(to) > order.index(status) for status, ways in TRANSITIONS.items() for to in ways)
    assert {s for s in CandidateStatus if not TRANSITIONS[s]} == {CandidateStatus.FINISHED, CandidateStatus.FAILED}
