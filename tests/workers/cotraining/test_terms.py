from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from workers.cotraining.terms import CoTraining, Phases
from workers.train_config import TrainConfig


def test_terms_go_through_json_and_refuse_unknown_keys():
    terms = CoTraining(router=1.0, cost=0.5, teacher="average", phases=Phases(warm_up=0.25, joint=0.75))
    assert CoTraining.from_dict(terms.to_dict()) == terms
    with pytest.raises(InvalidRequestError, match="unknown co-training key 'foucs'; choose from: little, big, teacher"):
        CoTraining.from_dict({"foucs": 1.0})
    with pytest.raises(InvalidRequestError, match="unknown phase key 'warmup'; choose from: warm_up, joint"):
        CoTraining.from_dict({"phases": {"warmup": 0.5}})


def test_a_training_configuration_carries_its_terms_and_leaves_out_defaults():
    config = TrainConfig(epochs=2, cotraining=CoTraining(system=0.5))
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert "cotraining" not in TrainConfig(epochs=2).to_dict()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"teacher": "ema"}, "teacher is 'ema'; choose one of: in_place, average, ensemble"),
        ({"divergence": "js"}, "divergence is 'js'; choose one of: kl, alpha"),
        ({"router_head": "tree"}, "router_head is 'tree'; choose one of: logistic, mlp"),
        ({"system": -1.0}, "system is -1 but must be at least 0 and finite"),
        ({"router": float("inf")}, "router is inf but must be at least 0 and finite"),
        ({"focus": 1.1, "router": 1.0}, r"focus is 1.1 but must lie in \[0, 1\]"),
        ({"teacher_decay": 1.0}, r"teacher_decay is 1 but must lie in \[0, 1\)"),
        ({"cost_target": 0.0}, "cost_target and multiplier_rate must be above 0"),
        ({"multiplier_rate": 0.0}, "cost_target and multiplier_rate must be above 0"),
        ({"little": 0.0, "big": 0.0}, "no branch would learn; weigh one of them above 0"),
        ({"focus": 0.5}, "focus reads the router's escalation probability, which nothing teaches; set router or"),
        ({"cost": 1.0}, "cost reads the router's escalation probability"),
        ({"rate": 1.0}, "rate reads the router's escalation probability"),
    ],
)
def test_terms_that_cannot_be_are_refused(values, message):
    with pytest.raises(InvalidRequestError, match=message):
        CoTraining(**values)


@pytest.mark.parametrize("shares", [{"joint": 0.9}, {"warm_up": 0.5, "joint": 0.6}, {"warm_up": -0.5, "joint": 1.5}])
def test_phases_must_add_up(shares):
    with pytest.raises(InvalidRequestError, match=r"phases are warm_up .* and add up to 1"):
        Phases(**shares)


def test_phases_follow_each_other_and_cover_every_epoch():
    phases = Phases(warm_up=0.2, joint=0.4, harden=0.1, fine_tune=0.3)
    names = [phases.at(epoch, 10) for epoch in range(10)]
    assert names == ["warm_up"] * 2 + ["joint"] * 4 + ["harden"] + ["fine_tune"] * 3


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 61])
def test_no_epoch_is_without_a_phase_and_none_goes_back(epochs):
    phases = Phases(warm_up=0.15, joint=0.55, harden=0.05, fine_tune=0.25)
    order = ["warm_up", "joint", "harden", "fine_tune"]
    seen = [order.index(phases.at(epoch, epochs)) for epoch in range(epochs)]
    assert seen == sorted(seen)


def test_hardening_sharpens_epoch_by_epoch_and_stays_sharp():
    phases = Phases(warm_up=0.2, joint=0.3, harden=0.3, fine_tune=0.2)
    firmness = [phases.firmness(epoch, 10) for epoch in range(10)]
    assert firmness == pytest.approx([1] * 5 + [2, 4, 8] + [8] * 2)
    assert {Phases(joint=0.5, fine_tune=0.5).firmness(epoch, 10) for epoch in range(10)} == {1.0}


def test_without_phases_everything_is_joint():
    assert {Phases().at(epoch, 5) for epoch in range(5)} == {"joint"}


def test_a_chosen_pair_is_only_fine_tuned():
    terms = CoTraining(gate=0.1, phases=Phases(warm_up=0.5, joint=0.5)).only_fine_tuning()
    assert {terms.phases.at(epoch, 3) for epoch in range(3)} == {"fine_tune"}
    assert terms.gate == 0.1
