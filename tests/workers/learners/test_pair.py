from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.cotraining.terms import CoTraining, Phases
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData
from workers.learners.pair import PairLearner, initial_pair
from workers.learners.sandwich import SandwichLearner
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport, Trainer

PLAIN = TrainConfig(epochs=3, batch_size=32)
EVERYTHING = CoTraining(
    teacher="average",
    teacher_decay=0.9,
    divergence="alpha",
    focus=0.5,
    system=0.5,
    router=1.0,
    cost=1.0,
    cost_target=0.4,
    multiplier_rate=0.1,
    rate=0.1,
    gate=0.1,
    phases=Phases(warm_up=1 / 3, joint=1 / 3, fine_tune=1 / 3),
)
ALL_ON = replace(PLAIN, cotraining=EVERYTHING)


def plan_of(micro, coupling="stem"):
    return micro.plan(micro.extreme(coupling, largest=True))


def a_pair(micro, config):
    return PairLearner.untrained(plan_of(micro), config)


def a_sandwich(micro, config):
    return SandwichLearner.over_space(Supernet(micro, seed=config.seed), config)


def train(learner, small, resume=None) -> list[EpochReport]:
    return list(Trainer(learner, *small, learner.config).epochs(resume))


@pytest.mark.parametrize("make", [a_pair, pytest.param(a_sandwich, marks=pytest.mark.slow)])
def test_with_every_term_on_a_resumed_run_ends_with_the_same_bits(micro, small, make):
    reports = train(make(micro, ALL_ON), small)
    for stop in (1, 2):
        rest = train(make(micro, ALL_ON), small, resume=reports[stop - 1].checkpoint)
        assert [r.epoch for r in rest] == list(range(stop + 1, 4))
        assert rest[-1].checkpoint == reports[-1].checkpoint


@pytest.mark.parametrize("make", [a_pair, pytest.param(a_sandwich, marks=pytest.mark.slow)])
def test_reports_tell_the_phase_and_every_term_that_is_on(micro, small, make):
    warm_up, joint, fine_tune = (r.losses for r in train(make(micro, ALL_ON), small))
    assert set(warm_up) == {"loss", "big", "all", "phase"}
    terms = {"system", "router", "rate", "cost", "multiplier", "escalation"}
    assert terms <= set(joint)
    assert set(fine_tune) == set(joint) | {"gate"}
    assert [losses["phase"] for losses in (warm_up, joint, fine_tune)] == [0, 1, 3]


def test_in_the_warm_up_the_big_learns_alone(micro, small):
    config = replace(PLAIN, epochs=1, cotraining=CoTraining(phases=Phases(warm_up=1.0, joint=0.0)))
    learner = a_pair(micro, config)
    before = {name: p.detach().clone() for name, p in learner.module.named_parameters()}
    train(learner, small)
    changed = {name for name, p in learner.module.named_parameters() if not torch.equal(p, before[name])}
    assert "pair.big.head.weight" in changed
    assert not changed & {"pair.little.head.weight", "alpha"}


def test_a_checkpoint_of_other_terms_is_refused(micro, small):
    checkpoint = train(a_pair(micro, replace(ALL_ON, epochs=1)), small)[0].checkpoint
    with pytest.raises(InvalidRequestError, match=r"was trained with cotraining .* but this job has None; resume with"):
        train(a_pair(micro, replace(PLAIN, epochs=1)), small, resume=checkpoint)


def test_a_checkpoint_of_another_pair_is_refused(micro, small):
    config = replace(PLAIN, epochs=1)
    checkpoint = train(a_pair(micro, config), small)[0].checkpoint
    other = PairLearner.untrained(plan_of(micro, "independent"), config)
    with pytest.raises(InvalidRequestError, match=r"belongs to space 'pair-stem'.*this job has 'pair-independent'"):
        train(other, small, resume=checkpoint)


@pytest.mark.parametrize("coupling", ["independent", "stem", "triangular"])
def test_the_little_is_not_moved_through_the_escalated_logits(micro, coupling):
    learner = PairLearner.untrained(plan_of(micro, coupling), PLAIN)
    _, escalated = learner.module(torch.randn(8, 1, 8, 8))
    escalated.square().sum().backward()
    assert learner.module.pair.little.head.weight.grad is None
    assert learner.module.alpha.grad is not None
    assert learner.module.pair.big.head.weight.grad is not None


def test_what_is_shipped_answers_as_what_was_trained(micro, small):
    learner = a_pair(micro, replace(PLAIN, epochs=1))
    train(learner, small)
    x = torch.randn(8, 1, 8, 8)
    plain = learner.module.plain()
    assert plain.alpha == pytest.approx(float(learner.module.alpha.detach()))
    assert plain.alpha != 0.5
    for one, two in zip(plain.train()(x), learner.module.train()(x), strict=True):
        torch.testing.assert_close(one, two)


def test_initial_weights_follow_from_the_seed_alone(micro):
    torch.manual_seed(1)
    one = initial_pair(plan_of(micro), seed=3).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = initial_pair(plan_of(micro), seed=3).state_dict()
    other = initial_pair(plan_of(micro), seed=4).state_dict()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert not torch.equal(one["big.head.weight"], other["big.head.weight"])
    assert torch.equal(state, torch.get_rng_state())


def test_a_nested_pair_is_refused(micro):
    with pytest.raises(InvalidRequestError, match=r"slice the same weights, .* with SandwichLearner.over_pair"):
        PairLearner.untrained(plan_of(micro, "nested"), PLAIN)


def test_a_cost_target_below_the_littles_own_cost_is_refused(micro):
    config = replace(PLAIN, cotraining=CoTraining(router=1.0, cost=1.0, cost_target=0.05))
    with pytest.raises(
        InvalidRequestError, match=r"cost_target 0.05 asks for .* but the little alone takes .* above 0"
    ):
        PairLearner.untrained(plan_of(micro), config)


@pytest.mark.slow
def test_a_pair_learns_the_digits_and_its_router_tells_what_escalation_mends(micro, digits, splits):
    config = TrainConfig(epochs=6, batch_size=64, learning_rate=0.2, cotraining=CoTraining(system=0.5, router=1.0))
    learner = PairLearner.untrained(micro.plan(micro.extreme("stem", largest=True)), config)
    report = train(learner, (digits, splits))[-1]
    assert report.accuracies["big"] > 0.9
    outputs = learner.outputs(EvaluationContext(EvaluationData.of(digits, splits)))
    router = learner.learned_router()
    assert router is not None
    scores = torch.from_numpy(router.scores(outputs.little_logits))
    mended = outputs.benefit
    assert mended.any()
    assert scores[mended].mean() < scores[~mended].mean()


@pytest.mark.slow
def test_a_supernet_refuses_a_cost_target_that_its_largest_pair_cannot_meet(micro):
    config = replace(PLAIN, cotraining=CoTraining(router=1.0, cost=1.0, cost_target=0.05))
    for make in (
        lambda: SandwichLearner.over_space(Supernet(micro), config),
        lambda: SandwichLearner.over_pair(Supernet(micro), micro.plan(micro.extreme("stem", largest=True)), config),
    ):
        with pytest.raises(InvalidRequestError, match=r"cost_target 0.05 asks for"):
            make()


def test_a_lower_cost_target_gives_a_pair_that_escalates_less(micro, digits):
    splits, shares = Splits.of(digits, seed=0, train_fraction=0.3), []
    for target in (0.9, 0.3):
        terms = CoTraining(system=1.0, cost=1.0, cost_target=target, multiplier_rate=0.2)
        config = TrainConfig(epochs=5, batch_size=32, learning_rate=0.1, cotraining=terms)
        learner = PairLearner.untrained(micro.plan(micro.extreme("stem", largest=True)), config)
        shares.append(train(learner, (digits, splits))[-1].losses["cost"])
    assert shares[1] < shares[0] - 0.1
    assert shares[1] < 0.4
