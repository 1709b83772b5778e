"""`kind: compare` as it is written: what is allowed, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from nas_service.job import InvalidJobError, JobSpec, parse_job


def job(*, compare: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "compare",
        "name": "strategies",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 10},
        "compare": {"strategies": ["random", "nsga2"], "evaluations": 30, **(compare or {})},
        "objectives": ["error", "macs"],
        **changes,
    }


def problems(data: dict[str, Any]) -> str:
    with pytest.raises(InvalidJobError) as refused:
        parse_job(data)
    return str(refused.value)


def test_a_comparison_is_written_and_read_again_as_it_was():
    spec = parse_job(job(compare={"seeds": 5, "batch": 4}))
    assert JobSpec.parse(spec.to_dict()) == spec
    assert spec.compare.total == 300


def test_every_strategy_enters_with_every_seed_in_an_order_of_its_own():
    entrants = parse_job(job(compare={"seeds": 2})).compare.entrants
    assert [e.label for e in entrants] == ["random, seed 0", "nsga2, seed 0", "random, seed 1", "nsga2, seed 1"]
    assert [e.index for e in entrants] == [0, 1, 2, 3]


def test_strategies_that_search_while_training_may_enter():
    entrants = parse_job(job(compare={"strategies": ["gradient", "random", "coevolve"]})).compare.entrants
    assert [e.trains for e in entrants[:3]] == [True, False, True]


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ({"strategies": ["random", "nsga3"]}, r"unknown strategy 'nsga3'; did you mean 'nsga2'"),
        ({"strategies": ["random"]}, "a comparison needs at least two strategies"),
        ({"strategies": []}, "a comparison needs at least two strategies"),
        ({"strategies": ["random", "tpe", "random"]}, "must name no strategy twice"),
        ({"seeds": 0}, "compare.seeds: is 0 (integer) but must be at least 1"),
        ({"seeds": 2.5}, "compare.seeds: is 2.5 (number) but must be an integer"),
        ({"evaluations": 0}, "compare.evaluations: is 0 (integer) but must be at least 1"),
        ({"batch": 31}, "batch is 31 but a strategy has only 30 evaluations"),
        ({"seeds": 1000, "evaluations": 1000}, "asks for 2,000,000 evaluations in all"),
        ({"strategies": ["coevolve", "random"], "evaluations": 1}, "the population of 'coevolve' needs at least 2"),
        ({"strategy": ["random", "tpe"]}, "compare.strategy: unknown key; did you mean 'strategies'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_reason(compare, expected):
    assert expected in problems(job(compare=compare))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"strategy": {"name": "random", "evaluations": 3}}, "strategy: means nothing to kind 'compare'"),
        ({"finalists": {"count": 3}}, "finalists: means nothing to kind 'compare', which finishes no candidate"),
        ({"objectives": []}, "objectives: is missing; a comparison needs at least one of"),
        ({"measurement": {"only": "promising"}}, "measurement.only: means nothing to kind 'compare'"),
        ({"measurement": {"near_front": "rank"}}, "measurement.near_front: means nothing to kind 'compare'"),
        ({"evaluation": {"parts": [0.2]}}, "evaluation.parts: means nothing to kind 'compare'"),
        ({"kind": "train", "objectives": []}, "compare: means nothing to kind 'train'"),
    ],
)
def test_what_means_nothing_to_a_comparison_is_refused(changes, expected):
    assert expected in problems(job(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"objectives": ["error", "latency_ms@pi"]}, "has latency_ms@pi, but 'gradient' searches while a supernet is"),
        ({"supernet": {"checkpoint": "0" * 64}}, "supernet.epochs: is missing; 'gradient' searches while"),
        ({"supernet": {"epochs": 3, "shrinking": True}}, "decides which pairs are trained, as 'gradient' would"),
    ],
)
def test_a_search_during_training_is_refused_beside_what_it_cannot_take(changes, expected):
    assert expected in problems(job(compare={"strategies": ["gradient", "random"]}, **changes))


def test_a_comparison_without_such_strategies_takes_boards_and_a_trained_supernet():
    spec = parse_job(job(objectives=["error", "latency_ms@pi"], supernet={"checkpoint": "0" * 64}))
    assert spec.board_classes() == ("pi",)


def test_an_audit_needs_to_know_for_how_many_epochs_to_train():
    search = {
        "kind": "search",
        "strategy": {"name": "random", "evaluations": 3},
        "supernet": {"checkpoint": "0" * 64},
        "finalists": {"audit": 4},
    }
    assert "finalists.audit trains pairs alone" in problems(job(**search))


def test_a_comparison_must_say_what_to_compare():
    assert "compare: is missing; give {strategies:" in problems({k: v for k, v in job().items() if k != "compare"})
