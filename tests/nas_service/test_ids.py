from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.ids import CandidateName, candidate_id, check_job_id, new_job_id, parse_candidate_id


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("cifar10-on-pi5", "cifar10-on-pi5"),
        ("Digits  Demo!", "digits-demo"),
        ("../../etc/passwd", "etc-passwd"),
        ("猫", "job"),
        ("--", "job"),
        ("x" * 100, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_a_job_id_is_its_name_made_safe_and_something_random(name: str, slug: str) -> None:
    made = new_job_id(name)
    assert (made[:-7], made[-7]) == (slug, "-")
    assert check_job_id(made) == made
    assert len({new_job_id(name) for _ in range(100)}) == 100


def test_a_candidates_id_names_its_job_and_number() -> None:
    assert candidate_id("digits-demo-k3q7ab", 7) == "digits-demo-k3q7ab-0007"
    for number in (1, 7, 9999, 10_000, 123_456):
        made = candidate_id("digits-demo-k3q7ab", number)
        assert parse_candidate_id(made) == CandidateName(job_id="digits-demo-k3q7ab", number=number)


@pytest.mark.parametrize(
    "text", ["", "digits", "digits-k3q7a1", "Digits-k3q7ab", "../x-k3q7ab", "digits-k3q7ab\n", "a--k3q7ab"]
)
def test_what_is_no_job_id_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"is no job id; one looks like digits-demo-k3q7ab, and `nas jobs`"):
        check_job_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "digits-k3q7ab", "digits-k3q7ab-7", "digits-k3q7ab-0000", "digits-k3q7ab-00007", "digits-k3q7ab-0007\n"],
)
def test_what_is_no_candidate_id_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"is no candidate id; one looks like digits-demo-k3q7ab-0007"):
        parse_candidate_id(text)


def test_candidates_are_numbered_from_one() -> None:
    with pytest.raises(InvalidRequestError, match="a candidate's number is 0 but must be at least 1"):
        candidate_id("digits-demo-k3q7ab", 0)
