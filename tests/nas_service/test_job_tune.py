"""`kind: tune` as it is written: what is allowed, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from nas_service.job import InvalidJobError, JobSpec, parse_job
from nas_service.job_tune import TUNABLE, Range, with_parameters


def job(*, tune: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    plain = {"method": "asha", "trials": 8, "parameters": {"learning_rate": {"log": [0.01, 1.0]}}}
    return {
        "kind": "tune",
        "name": "tuning",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 9},
        "tune": {**plain, **(tune or {})},
        **changes,
    }


def parameters(**ranges: Any) -> dict[str, Any]:
    return {"parameters": ranges}


def problems(data: dict[str, Any]) -> str:
    with pytest.raises(InvalidJobError) as refused:
        parse_job(data)
    return str(refused.value)


def test_a_tuning_is_written_and_read_again_as_it_was():
    spec = parse_job(job(tune=parameters(batch_size={"choice": [64, 128]}, mixup={"uniform": [0, 1]})))
    assert JobSpec.parse(spec.to_dict()) == spec


@pytest.mark.parametrize("name", ["distillation", "cotraining.distillation", "supernet.cotraining.distillation"])
def test_a_parameter_may_be_named_in_short_or_with_its_place(name):
    assert list(parse_job(job(tune=parameters(**{name: {"uniform": [0, 1]}}))).tune.parameters) == ["distillation"]


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        (parameters(learnin_rate={"log": [0.1, 1]}), "unknown parameter 'learnin_rate'; did you mean 'learning_rate'?"),
        (parameters(learning_rate={"logg": [0.1, 1]}), "learning_rate.logg: unknown key; did you mean 'log'?"),
        (parameters(learning_rate={}), "has nothing but must have exactly one of: uniform, log, integer, choice"),
        (parameters(learning_rate={"log": [0.1, 1], "uniform": [0, 1]}), "has uniform and log but must have"),
        (parameters(learning_rate={"log": [0, 1]}), "a logarithmic range begins above 0"),
        (parameters(learning_rate={"log": [1, 0.1]}), "must be [low, high] with low below high"),
        (parameters(learning_rate={"choice": [0.1]}), "tune.parameters.learning_rate.choice"),
        (parameters(learning_rate={"choice": [0.1, 0.1]}), "must name no choice twice"),
        (parameters(learning_rate={"log": [0.1, 1000]}), "reaches 1000.0: is 1000.0 (number) but must be at most 100"),
        (parameters(batch_size={"uniform": [16, 64]}), "must be an integer; write integer or choice"),
        (parameters(focus={"uniform": [0.1, 1]}), "set router or system above 0"),
        ({"parameters": {}}, "tune.parameters"),
        ({"method": "hyperband"}, "must be one of: asha, pbt, optuna, nevergrad"),
        ({"metric": "accuracy"}, "unknown metric 'accuracy'; did you mean 'mean_accuracy'?"),
        ({"interval": 2}, "interval means nothing to method 'asha'; remove it"),
        ({"grace_epochs": 10}, "tune.grace_epochs: is 10 but a trial has at most 9 epochs"),
        ({"method": "pbt", "trials": 1}, "a population needs at least 4"),
        ({"method": "pbt", "reduction": 3}, "reduction means nothing to method 'pbt'"),
        ({"method": "pbt", "interval": 9}, "the population would end before its first exchange"),
        ({"method": "pbt", **parameters(teacher={"choice": ["in_place", "average"]})}, "cannot change between two"),
        ({"method": "pbt", **parameters(system={"uniform": [0, 1]})}, "begin above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused_with_a_reason(tune, expected):
    assert expected in problems(job(tune=tune))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tune": None, "kind": "tune"}, "tune: is missing; give {method, trials, parameters"),
        ({"strategy": {"name": "random", "evaluations": 3}}, "strategy: means nothing to kind 'tune'; remove it"),
        ({"supernet": {"checkpoint": "a" * 64}}, "supernet.epochs: is missing; it is the most epochs of one trial"),
        ({"supernet": {"epochs": 9, "tuned": "j"}}, "supernet.tuned: means nothing to kind 'tune'"),
        ({"resources": {"trainer": {"gpus": 1}}}, "resources.evaluators says how many at once"),
        ({"kind": "train"}, "tune: means nothing to kind 'train'; remove it"),
    ],
)
def test_what_means_nothing_to_a_tuning_is_refused(changes, expected):
    data = {**job(), **changes}
    assert expected in problems({key: value for key, value in data.items() if value is not None})


def test_tuned_hyperparameters_need_no_trained_supernet():
    assert "needs no hyperparameters" in problems(job(supernet={"checkpoint": "a" * 64, "tuned": "j"}))


def test_a_path_in_tunable_leads_to_a_key_that_supernets_have():
    supernet = parse_job(job()).supernet
    values = {"weight_decay": 0.001, "distillation": 0.3, "phases.warm_up": 0.1, "mixup": 0.2}
    changed = with_parameters(supernet, values)
    assert (changed.weight_decay, changed.cotraining.distillation, changed.cotraining.phases.warm_up) == (
        0.001,
        0.3,
        0.1,
    )
    assert (changed.augmentation.mixup, changed.epochs) == (0.2, 9)
    assert values.keys() <= TUNABLE.keys()


@pytest.mark.parametrize(
    ("tuned", "shares", "values"),
    [
        (Range(uniform=(1.0, 3.0)), (0.0, 0.5, 1.0), (1.0, 2.0, 3.0)),
        (Range(log=(0.01, 1.0)), (0.0, 0.5, 1.0), (0.01, 0.1, 1.0)),
        (Range(integer=(1, 4)), (0.0, 0.3, 1.0), (1, 2, 4)),
        (Range(choice=(64, "x", True)), (0.0, 0.5, 1.0), (64, "x", True)),
    ],
)
def test_a_range_spreads_shares_over_its_values_and_finds_their_shares_again(tuned, shares, values):
    assert [tuned.at(share) for share in shares] == pytest.approx(values) or [*map(tuned.at, shares)] == [*values]
    assert [tuned.at(tuned.share_of(value)) for value in tuned.ends] == pytest.approx(list(tuned.ends), abs=1e-12) or [
        tuned.at(tuned.share_of(value)) for value in tuned.ends
    ] == list(tuned.ends)
