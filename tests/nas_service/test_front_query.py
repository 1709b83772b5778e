from __future__ import annotations

import math

import numpy as np
import pytest

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.front_query import FrontCandidate, FrontQuery, HalfCost, curve_values, front_points

COSTS = {"little_macs": 100.0, "tail_macs": 900.0, "worst_macs": 1000.0, "params": 50.0, "weights_kib": 0.2}
PI = {"little": HalfCost(latency_ms=2.0, memory_kib=300.0), "big": HalfCost(latency_ms=10.0, memory_kib=700.0)}


def curve(*, correct: tuple[int, int, int] = (60, 80, 90)) -> Curve:
    """Never, half and always escalating, over 100 inputs."""
    return Curve(
        thresholds=np.array([-math.inf, 0.5, math.inf]),
        escalated=np.array([0, 50, 100]),
        correct=np.array(correct),
        n=100,
    )


def candidate(number: int = 1, **changes: object) -> FrontCandidate:
    fields = {
        "id": f"job-{number}",
        "number": number,
        "coupling": "stem",
        "curve": curve(),
        "costs": COSTS,
        "boards": {},
    }
    return FrontCandidate(**{**fields, **changes})  # type: ignore[arg-type]


def query(*objectives: str, **limits: object) -> FrontQuery:
    return FrontQuery(objectives=objectives or ("error", "macs"), **limits)  # type: ignore[arg-type]


def test_every_worthwhile_threshold_of_one_candidate_is_on_the_front() -> None:
    axis, points = front_points([candidate()], query())
    assert axis == "macs"
    assert [p.threshold for p in points] == ["never", 0.5, "always"]
    assert [p.values["macs"] for p in points] == [100.0, 550.0, 1000.0]
    assert [p.routes["big"] for p in points] == [0.0, 0.5, 1.0]


def test_a_candidate_that_is_better_everywhere_owns_the_front_alone() -> None:
    better = candidate(2, curve=curve(correct=(70, 85, 95)), costs={**COSTS, "little_macs": 90.0, "tail_macs": 800.0})
    _, points = front_points([candidate(1), better], query())
    assert {p.candidate_id for p in points} == {"job-2"}


def test_fronts_of_two_candidates_mix_where_neither_is_better() -> None:
    cheap = candidate(2, curve=curve(correct=(50, 55, 58)), costs={**COSTS, "little_macs": 10.0, "tail_macs": 60.0})
    _, points = front_points([candidate(1), cheap], query())
    assert [p.number for p in points] == [2, 2, 2, 1, 1, 1]


def test_of_equal_points_the_first_stays() -> None:
    _, points = front_points([candidate(1), candidate(2)], query())
    assert {p.number for p in points} == {1}


def test_expected_latency_is_little_plus_the_escalated_share_of_big() -> None:
    values = curve_values(candidate(boards={"rpi5": PI}))
    assert values["latency_ms@rpi5"].tolist() == [2.0, 7.0, 12.0]
    assert values["worst_latency_ms@rpi5"].tolist() == [12.0, 12.0, 12.0]
    assert values["memory_kib@rpi5"].tolist() == [1000.0, 1000.0, 1000.0]
    assert "energy_mj@rpi5" not in values


@pytest.mark.parametrize("half", ["little", "big"])
def test_a_half_that_was_not_measured_leaves_the_quantity_absent(half: str) -> None:
    values = curve_values(candidate(boards={"rpi5": {**PI, half: HalfCost()}}))
    assert not any("@" in name for name in values)


def test_candidates_without_an_objective_of_the_front_take_no_part() -> None:
    _, points = front_points([candidate(1), candidate(2, boards={"rpi5": PI})], query("error", "latency_ms@rpi5"))
    assert {p.number for p in points} == {2}


def test_a_board_switches_the_cost_axis_to_its_latency() -> None:
    axis, points = front_points([candidate(boards={"rpi5": PI})], query(board="rpi5"))
    assert axis == "latency_ms@rpi5"
    assert [p.values[axis] for p in points] == [2.0, 7.0, 12.0]


@pytest.mark.parametrize(
    ("limits", "thresholds"),
    [
        ({"min_accuracy": 0.8}, [0.5, "always"]),
        ({"max_latency_ms": 7.0}, ["never", 0.5]),
        ({"max_latency_ms": 7.0, "min_accuracy": 0.8}, [0.5]),
        ({"max_memory_kib": 999.0}, []),
        ({"max_memory_kib": 1000.0}, ["never", 0.5, "always"]),
        ({"max_energy_mj": 1e9}, []),  # not measured, so not known to keep the limit
    ],
)
def test_limits_leave_only_points_that_keep_them(limits: dict[str, float], thresholds: list[object]) -> None:
    _, points = front_points([candidate(boards={"rpi5": PI})], query(**limits))
    assert [p.threshold for p in points] == thresholds


def test_a_dominated_point_enters_when_the_limit_removes_what_beat_it() -> None:
    heavy = candidate(1, boards={"rpi5": {**PI, "big": HalfCost(latency_ms=10.0, memory_kib=9000.0)}})
    light = candidate(2, costs={**COSTS, "little_macs": 200.0}, boards={"rpi5": PI})
    _, points = front_points([heavy, light], query(max_memory_kib=2000.0))
    assert {p.number for p in points} == {2}


def test_an_unknown_board_is_refused_with_the_classes_that_were_measured() -> None:
    with pytest.raises(InvalidRequestError, match=r"board: 'rpi6' has no measurement in this job; choose one of: rpi5"):
        front_points([candidate(boards={"rpi5": PI})], query(board="rpi6"))


def test_a_board_before_anything_is_measured_is_refused_saying_so() -> None:
    with pytest.raises(InvalidRequestError, match="no candidate of it has been measured on a board yet"):
        front_points([candidate()], query(board="rpi5"))


def test_a_board_limit_over_two_classes_asks_for_one_of_them() -> None:
    measured = candidate(boards={"rpi5": PI, "jetson": PI})
    with pytest.raises(InvalidRequestError, match=r"max_latency_ms holds for one board class.*jetson, rpi5"):
        front_points([measured], query(max_latency_ms=5.0))


def test_no_candidates_give_an_empty_front() -> None:
    assert front_points([], query()) == ("macs", [])
