from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from workers.cotraining.likelihood import alpha_divergence, ensemble, gate_loss, system_loss

GENERATOR = torch.Generator().manual_seed(1)
LITTLE, BIG = (torch.randn(6, 4, generator=GENERATOR) for _ in range(2))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
ODDS = torch.randn(6, generator=GENERATOR)


def test_the_systems_likelihood_mixes_both_halves_by_the_routers_probability():
    g, rows = ODDS.sigmoid(), torch.arange(6)
    mixed = (1 - g) * LITTLE.softmax(1)[rows, LABELS] + g * BIG.softmax(1)[rows, LABELS]
    torch.testing.assert_close(system_loss(LITTLE, BIG, ODDS, LABELS), -mixed.log().mean())
    soft = F.one_hot(LABELS, 4).float()
    torch.testing.assert_close(system_loss(LITTLE, BIG, ODDS, soft), -mixed.log().mean())


@pytest.mark.parametrize(("odds", "half"), [(-60.0, LITTLE), (60.0, BIG)])
def test_a_router_that_is_sure_leaves_one_halfs_cross_entropy(odds, half):
    loss = system_loss(LITTLE, BIG, torch.full((6,), odds), LABELS)
    torch.testing.assert_close(loss, F.cross_entropy(half, LABELS))


def test_the_systems_likelihood_teaches_router_and_both_halves():
    inputs = [t.clone().requires_grad_() for t in (LITTLE, BIG, ODDS)]
    system_loss(*inputs, LABELS).backward()
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in inputs)


def test_the_system_escalates_what_the_big_knows_better():
    odds = torch.zeros(6, requires_grad=True)
    system_loss(LITTLE, BIG, odds, LABELS).backward()
    better = F.cross_entropy(BIG, LABELS, reduction="none") < F.cross_entropy(LITTLE, LABELS, reduction="none")
    assert torch.equal(odds.grad < 0, better)


def test_the_gate_rewards_being_sure_where_right_and_unsure_where_wrong():
    right, wrong = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    label = torch.tensor([0])
    assert gate_loss(right, label, share=0.5) < gate_loss(right / 4, label, share=0.5)
    assert gate_loss(wrong, label, share=0.5) > gate_loss(wrong / 4, label, share=0.5)
    assert float(gate_loss(torch.tensor([[0.0, 1e-6]]), label, share=0.0)) == pytest.approx(0, abs=1e-6)


def test_the_alpha_divergence_is_zero_for_the_teacher_and_at_least_the_kl():
    assert alpha_divergence(BIG, BIG, temperature=2.0).abs().max() < 1e-5
    kl = F.kl_div(LITTLE.log_softmax(1), BIG.softmax(1), reduction="none").sum(1)
    assert (alpha_divergence(LITTLE, BIG, temperature=1.0) >= kl - 1e-6).all()


def test_where_kl_is_the_greater_the_alpha_divergence_has_its_gradient():
    teacher = torch.tensor([[0.2, 0.4, 0.4]]).log()
    student = torch.tensor([[0.05, 0.475, 0.475]]).log().requires_grad_()
    kl = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="none").sum()
    (expected,) = torch.autograd.grad(kl, student)
    divergence = alpha_divergence(student, teacher, temperature=1.0).sum()
    torch.testing.assert_close(divergence, kl)
    torch.testing.assert_close(torch.autograd.grad(divergence, student)[0], expected)


def test_a_student_that_is_too_sure_is_punished_more_than_by_kl():
    teacher, sure = torch.zeros(1, 4), torch.tensor([[1.5, 0.0, 0.0, 0.0]])
    kl = F.kl_div(sure.log_softmax(1), teacher.softmax(1), reduction="none").sum()
    assert float(alpha_divergence(sure, teacher, temperature=1.0)) > float(kl) * 1.2


def test_an_ensemble_teaches_the_mean_probability_without_gradient():
    little = LITTLE.clone().requires_grad_()
    lesson = ensemble(little, BIG)
    torch.testing.assert_close(lesson.exp(), (LITTLE.softmax(1) + BIG.softmax(1)) / 2)
    assert not lesson.requires_grad
    assert math.isclose(float(lesson.exp().sum()), 6, rel_tol=1e-5)
