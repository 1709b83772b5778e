from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.faults.board import figure_ms
from cluster.faults.tally import tally
from edge_agent.records import Artifact, Lease, Result
from nas_service.fleet import Measurement
from nas_service.measurement import RequestState, RequestStatus
from tests.cluster.gateway.samples import good_latency, good_result

KEYS = ("a" * 64, "b" * 64)


def result(key: str, *, result_id: str = "", figure_of: str | None = None) -> Result:
    lease = Lease(
        lease_id=f"l-{key[0]}", token=1, board="pi", board_class="c", tier="probe", half="little",
        model=Artifact(sha256="0" * 64, size_bytes=1), structure_key=key, measurement_key=key, ttl_s=1.0,
        deadline_unix_s=1.0,
    )  # fmt: skip
    plain = good_result(lease, result_id=result_id or f"r-{key[0]}")
    return replace(plain, latency=good_latency(figure_ms(figure_of or key)))


def state(key: str, answer: Result | None) -> RequestState:
    status = RequestStatus.DONE if answer else RequestStatus.QUEUED
    return RequestState(measurement_key=key, state=status, result=answer)


def count(answers: dict[str, Result | None], stored: list[Measurement], handed_in: dict[str, str]) -> Any:
    states = {key: state(key, answer) for key, answer in answers.items()}
    return tally(
        KEYS, states=states, measured=stored, handed_in=handed_in, faults={"kill": 2}, asked_anew=0, seconds=1.0
    )


def kept(answer: Result, *, late: bool = False) -> Measurement:
    return Measurement(result=answer, late=late, received_at=1.0)


A, B = result(KEYS[0]), result(KEYS[1])


def test_all_answered_once_is_good() -> None:
    found = count({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B)], {"r-a": "l-a", "r-b": "l-b"})
    assert found.good
    assert (found.results, found.lost, found.twice, found.mixed_up) == (2, 0, 0, 0)


@pytest.mark.parametrize(
    ("answers", "stored", "handed_in", "field"),
    [
        ({KEYS[0]: A, KEYS[1]: None}, [kept(A)], {}, "lost"),
        ({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B)], {"r-gone": "l-gone"}, "lost"),
        ({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B), kept(result(KEYS[1], result_id="r-2"))], {}, "twice"),
        ({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B), kept(B, late=True)], {}, "twice"),
        ({KEYS[0]: A, KEYS[1]: result(KEYS[1], figure_of=KEYS[0])}, [kept(A), kept(B)], {}, "mixed_up"),
    ],
)
def test_what_is_wrong_is_counted(answers: Any, stored: Any, handed_in: Any, field: str) -> None:
    found = count(answers, stored, handed_in)
    assert getattr(found, field) == 1
    assert not found.good


def test_a_late_answer_is_an_extra_sample_and_no_second_count() -> None:
    found = count({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B), kept(result(KEYS[1], result_id="r-2"), late=True)], {})
    assert (found.good, found.late) == (True, 1)


def test_one_of_two_answers_to_one_lease_is_enough() -> None:
    found = count({KEYS[0]: A, KEYS[1]: B}, [kept(A), kept(B)], {"r-a": "l-a", "r-of-the-twin": "l-a"})
    assert found.good
