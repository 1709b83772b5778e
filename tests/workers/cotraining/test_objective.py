from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from workers.cotraining.cost import PairCost
from workers.cotraining.likelihood import ensemble
from workers.cotraining.objective import PairObjective, PairTerms
from workers.cotraining.terms import CoTraining, Phases
from workers.learner import Batch
from workers.losses import branch_loss, distillation, pair_losses
from workers.train_config import TrainConfig

GENERATOR = torch.Generator().manual_seed(2)
LITTLE, BIG, TEACHER = (torch.randn(8, 4, generator=GENERATOR) for _ in range(3))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
BATCH = Batch(images=torch.zeros(8, 1, 2, 2), labels=LABELS, step=0, steps=1, generator=GENERATOR)
COST = PairCost(little=1.0, tail=3.0, reference=4.0)
CONFIG = TrainConfig(epochs=10)


def objective(**terms) -> PairObjective:
    return PairObjective(replace(CONFIG, cotraining=CoTraining(**terms)), model=nn.Linear(1, 1), classes=4)


def losses(one: PairObjective, *, batch: Batch = BATCH, teacher: torch.Tensor | None = None) -> PairTerms:
    lesson = one.lesson(LITTLE, BIG, averaged=None)
    return one(LITTLE, BIG, batch, lesson=lesson, teacher=teacher, cost=COST)


@pytest.mark.parametrize("teacher", [None, TEACHER])
def test_with_every_term_off_the_plain_losses_remain_bit_for_bit(teacher):
    off = objective(cost_target=0.3, target_rate=0.9, gate_share=0.1, multiplier_rate=0.5, teacher_decay=0.5)
    terms = losses(off, teacher=teacher)
    little, big = pair_losses(LITTLE, BIG, LABELS, teacher=teacher, config=CONFIG)
    assert torch.equal(terms.total, little + big)
    assert not terms.figures
    assert not list(off.extras.parameters())
    assert not list(off.extras.buffers())


@pytest.mark.parametrize(
    ("on", "figures"),
    [
        ({"system": 0.5}, {"escalation", "system"}),
        ({"router": 1.0}, {"escalation", "router"}),
        ({"router": 1.0, "rate": 0.5}, {"escalation", "router", "rate"}),
        ({"router": 1.0, "cost": 1.0}, {"escalation", "router", "cost", "multiplier"}),
        ({"router": 1.0, "focus": 1.0}, {"escalation", "router"}),
        ({"gate": 0.2, "phases": Phases(joint=0.0, fine_tune=1.0)}, {"gate"}),
    ],
)
def test_each_term_is_computed_only_where_it_is_on(on, figures):
    terms = losses(objective(**on))
    assert set(terms.figures) == figures
    assert not any(value.requires_grad for value in terms.figures.values())


def test_the_terms_add_up_by_their_weights():
    terms = losses(objective(system=0.5, router=2.0, rate=3.0, little=0.25, big=1.5))
    figures = terms.figures
    expected = 0.25 * terms.little + 1.5 * terms.big
    expected = expected + 0.5 * figures["system"] + 2.0 * figures["router"] + 3.0 * figures["rate"]
    torch.testing.assert_close(terms.total, expected)


def test_a_branch_of_weight_zero_gets_no_gradient():
    little, big = LITTLE.clone().requires_grad_(), BIG.clone().requires_grad_()
    one = objective(little=0.0)
    one(little, big, BATCH, lesson=big.detach(), teacher=None, cost=None).total.backward()
    assert little.grad is None
    assert big.grad is not None


def test_focus_weighs_images_by_their_escalation_without_gradient_to_the_router():
    one = objective(router=1.0, focus=0.5)
    nn.init.constant_(one.router.learned.body.bias, 1.0)
    focused, plain = losses(one), losses(objective(router=1.0, focus=0.0))
    half = 0.5 * torch.sigmoid(torch.tensor(1.0))  # the weights of the head are 0: one g for all
    big = F.cross_entropy(BIG, LABELS)
    router = focused.figures["router"] - plain.figures["router"]
    torch.testing.assert_close(focused.total - plain.total - router, half * big)
    torch.testing.assert_close(focused.big, big)  # what is reported stays comparable with a guess's


@pytest.mark.parametrize("divergence", ["kl", "alpha"])
def test_importance_of_one_changes_no_branch(divergence):
    config = replace(CONFIG, cotraining=CoTraining(divergence=divergence), temperature=2.0)
    plain, weighted = (
        branch_loss(LITTLE, LABELS, teacher=TEACHER, weight=0.5, config=config, importance=importance)
        for importance in (None, torch.ones(8))
    )
    torch.testing.assert_close(plain, weighted)


def test_soft_labels_of_one_class_are_labels():
    one = objective(system=1.0, router=1.0)
    soft = replace(BATCH, targets=F.one_hot(LABELS, 4).float())
    torch.testing.assert_close(losses(one, batch=soft).total, losses(one).total)


def test_an_ensemble_teaches_the_mean_of_both_halves():
    terms = losses(objective(teacher="ensemble"))
    expected = 0.5 * F.cross_entropy(LITTLE, LABELS)
    expected = expected + 0.5 * distillation(LITTLE, ensemble(LITTLE, BIG), temperature=1.0)
    torch.testing.assert_close(terms.little, expected)


def test_the_multiplier_weighs_the_cost_and_rises_after_a_step_over_the_target():
    one = objective(router=1.0, cost=2.0, cost_target=0.5, multiplier_rate=0.1)
    first = losses(one)
    assert float(first.figures["cost"]) == pytest.approx((1 + 0.5 * 3) / 4)
    one.finish_step(nn.Linear(1, 1))
    assert float(one.constraint.multiplier) == pytest.approx(0.1 * (2.5 - 2) / 2)
    second = losses(one)
    torch.testing.assert_close(second.total - first.total, torch.tensor(2.0 * 0.025 * 0.25))


def test_hardening_turns_what_is_weighed_into_what_is_decided():
    terms = {"router": 1.0, "system": 1.0, "phases": Phases(joint=0.5, harden=0.5)}
    one = objective(**terms)
    nn.init.constant_(one.router.learned.body.bias, 1.0)  # the weights of the head are 0: one g for all
    joint = losses(one)
    one.start_epoch(9, 10)
    hard = losses(one)
    assert float(joint.figures["escalation"]) == pytest.approx(0.731, abs=1e-3)
    assert float(hard.figures["escalation"]) == pytest.approx(1.0, abs=1e-3)
    torch.testing.assert_close(hard.figures["system"], F.cross_entropy(BIG, LABELS), atol=2e-3, rtol=0)
    torch.testing.assert_close(hard.figures["router"], joint.figures["router"])


def test_the_gate_waits_for_fine_tuning():
    one = objective(gate=0.5, phases=Phases(joint=0.5, fine_tune=0.5))
    assert "gate" not in losses(one).figures
    one.start_epoch(5, 10)
    assert "gate" in losses(one).figures
