from __future__ import annotations

import pytest

from nas_service.job import InvalidJobError, JobSpec, parse_job

JOB = {
    "kind": "search",
    "name": "terms",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "strategy": {"name": "random", "evaluations": 8},
    "objectives": ["error", "macs"],
}


def with_terms(terms, *, fine_tune_epochs: int = 0):
    supernet = {"epochs": 2, "cotraining": terms}
    return {**JOB, "supernet": supernet, "finalists": {"fine_tune_epochs": fine_tune_epochs}}


def test_a_job_keeps_what_it_says_of_co_training_and_nothing_else():
    terms = {"teacher": "average", "router": 1, "system": 0.5, "phases": {"warm_up": 0.1, "fine_tune": 0.2}}
    spec = parse_job(with_terms(terms))
    assert spec.to_dict()["supernet"]["cotraining"] == {
        **terms,
        "phases": {"warm_up": 0.1, "harden": 0.0, "fine_tune": 0.2},
    }
    assert JobSpec.parse(spec.to_dict()) == spec


def test_the_joint_phase_has_what_the_others_leave():
    spec = parse_job(with_terms({"phases": {"warm_up": 0.125, "fine_tune": 0.25}}))
    assert spec.supernet.cotraining is not None
    assert spec.supernet.cotraining.given() == {
        "phases": {"warm_up": 0.125, "joint": 0.625, "harden": 0.0, "fine_tune": 0.25}
    }


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"focuss": 1.0}, "supernet.cotraining.focuss: unknown key; did you mean 'focus'?"),
        ({"phases": {"warmup": 0.1}}, "supernet.cotraining.phases.warmup: unknown key; did you mean 'warm_up'?"),
        ({"focus": 1.5, "router": 1}, "supernet.cotraining.focus: is 1.5 (number) but must be at most 1"),
        ({"system": -1}, "supernet.cotraining.system: is -1 (integer) but must be at least 0"),
        ({"cost_target": 0}, "supernet.cotraining.cost_target: is 0 (integer) but must be more than 0"),
        ({"teacher": "emsemble"}, "supernet.cotraining.teacher: is 'emsemble' (text) but must be one of: in_place, av"),
        (
            {"cost": 1},
            "supernet.cotraining: cost reads the router's escalation probability, which nothing teaches; set",
        ),
        ({"little": 0, "big": 0}, "supernet.cotraining: little and big are both 0, so no branch would learn"),
        (
            {"phases": {"warm_up": 0.6, "fine_tune": 0.5}},
            "supernet.cotraining.phases: add up to 1.1 but must leave something, or nothing, of 1 to the phase 'joint'",
        ),
        ({"gate": 0.1}, "supernet.cotraining.gate: is on while fine-tuning alone; set phases.fine_tune or finalists."),
    ],
)
def test_terms_that_cannot_be_are_refused_by_path(terms, message):
    with pytest.raises(InvalidJobError) as caught:
        parse_job(with_terms(terms))
    assert any(str(problem).startswith(message) for problem in caught.value.problems), str(caught.value)


def test_a_gate_is_taken_where_finalists_are_fine_tuned():
    assert parse_job(with_terms({"gate": 0.1}, fine_tune_epochs=2)).finalists.fine_tune_epochs == 2


@pytest.mark.parametrize(
    ("terms", "path"), [({"cost": 1, "router": 1}, "cost"), ({"phases": {"warm_up": 0.1}, "router": 1}, "phases")]
)
def test_what_gradient_does_by_its_own_rules_is_refused_with_it_alone(terms, path):
    job = with_terms(terms)
    gradient, other = {"name": "gradient", "evaluations": 4}, {"name": "random", "evaluations": 4}
    with pytest.raises(InvalidJobError, match=rf"supernet.cotraining.{path}: does nothing with strategy 'gradient'"):
        parse_job({**job, "strategy": [gradient]})
    assert parse_job({**job, "strategy": [gradient, other]}).supernet.cotraining is not None
