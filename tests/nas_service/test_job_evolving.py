from __future__ import annotations

from typing import Any

import pytest

from nas_service.job import InvalidJobError, JobSpec

MS = "latency_ms@rpi5"


def job(strategy: Any, *, objectives: tuple[str, ...] = ("error", "macs"), **supernet: Any) -> dict[str, Any]:
    return {
        "kind": "search",
        "name": "evolving",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": supernet or {"epochs": 3},
        "strategy": strategy,
        "objectives": list(objectives),
    }


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "gradient", "evaluations": 3, "targets": [0.2, 90000.0]},
        {"name": "coevolve", "evaluations": 8, "every": 3},
        [{"name": "coevolve", "evaluations": 8}, {"name": "linas", "evaluations": 20}],
    ],
)
def test_a_search_during_training_is_a_strategy_like_the_others(strategy):
    spec = JobSpec.parse(job(strategy))
    assert JobSpec.parse(spec.to_dict()) == spec
    assert spec.strategy[0].trains


@pytest.mark.parametrize(
    ("strategy", "supernet", "message"),
    [
        ({"name": "nsga2", "evaluations": 3, "targets": [0.2]}, {}, "targets means nothing to strategy 'nsga2'"),
        ({"name": "gradient", "evaluations": 3, "every": 2}, {}, "every means nothing to strategy 'gradient'"),
        ({"name": "linas", "evaluations": 3, "cost": "macs"}, {}, "cost means nothing to strategy 'linas'"),
        ({"name": "gradient", "evaluations": 3, "cost": MS}, {}, f"where the job measures nothing; add {MS} to"),
        ({"name": "gradient", "evaluations": 3, "cost": "memory_kib@rpi5"}, {}, "one of: macs, latency_ms@CLASS"),
        (
            {"name": "gradient", "evaluations": 3, "cost": "latency_ms"},
            {},
            "names no board class|lacks the board class",
        ),
        ({"name": "coevolve", "evaluations": 1}, {}, "population of 'coevolve' needs at least 2"),
        ({"name": "gradient", "evaluations": 3, "targets": []}, {}, r"strategy\.targets"),
        (
            [{"name": "gradient", "evaluations": 3}, {"name": "coevolve", "evaluations": 3}],
            {},
            "has gradient and coevolve, but a supernet is trained by one of them",
        ),
        ({"name": "gradient", "evaluations": 3}, {"checkpoint": "0" * 64}, "searches while the supernet is trained"),
        ({"name": "coevolve", "evaluations": 3}, {"epochs": 3, "shrinking": True}, "decides which pairs are trained"),
    ],
)
def test_what_cannot_be_trained_together_is_refused(strategy, supernet, message):
    with pytest.raises(InvalidJobError, match=message):
        JobSpec.parse(job(strategy, **supernet))


def test_a_plain_job_may_shrink_progressively():
    assert JobSpec.parse(job({"name": "random", "evaluations": 2}, epochs=3, shrinking=True)).supernet.shrinking


@pytest.mark.parametrize(("cost", "board_class"), [(MS, "rpi5"), ("energy_mj@rpi5", "rpi5"), ("macs", None)])
def test_a_search_by_gradient_may_count_what_a_board_class_takes(cost, board_class):
    strategy = {"name": "gradient", "evaluations": 3, "targets": [20.0], "cost": cost}
    spec = JobSpec.parse(job(strategy, objectives=("error", MS)))
    assert JobSpec.parse(spec.to_dict()) == spec
    counted = spec.strategy[0].board_cost
    assert (None if counted is None else counted.board_class) == board_class
