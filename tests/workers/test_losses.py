from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from workers.losses import branch_loss, distillation, pair_losses
from workers.train_config import TrainConfig

LITTLE, BIG, TEACHER = (torch.randn(6, 4, generator=torch.Generator().manual_seed(s)) for s in range(3))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
CONFIG = TrainConfig(epochs=1)


def test_distillation_is_zero_for_the_teacher_itself_and_positive_otherwise():
    assert float(distillation(BIG, BIG, temperature=2.0)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(LITTLE, BIG, temperature=2.0)) > 0


def test_distillation_at_temperature_one_is_cross_entropy_less_the_teachers_entropy():
    soft = TEACHER.softmax(1)
    entropy = -(soft * soft.log()).sum(1).mean()
    expected = F.cross_entropy(LITTLE, soft) - entropy
    torch.testing.assert_close(distillation(LITTLE, TEACHER, temperature=1.0), expected)


def test_no_gradient_reaches_a_teacher():
    teacher = TEACHER.clone().requires_grad_()
    student = LITTLE.clone().requires_grad_()
    distillation(student, teacher, temperature=1.0).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_branch_loss_mixes_labels_and_teacher_by_weight(weight):
    hard, soft = F.cross_entropy(LITTLE, LABELS), distillation(LITTLE, TEACHER, temperature=1.0)
    loss = branch_loss(LITTLE, LABELS, teacher=TEACHER, weight=weight, config=CONFIG)
    torch.testing.assert_close(loss, (1 - weight) * hard + weight * soft)


def test_the_largest_big_learns_from_labels_alone():
    _, big = pair_losses(LITTLE, BIG, LABELS, teacher=None, config=CONFIG)
    torch.testing.assert_close(big, F.cross_entropy(BIG, LABELS))


def test_a_little_learns_from_its_own_pairs_escalated_logits():
    little, _ = pair_losses(LITTLE, BIG, LABELS, teacher=TEACHER, config=CONFIG)
    torch.testing.assert_close(little, branch_loss(LITTLE, LABELS, teacher=BIG, weight=0.5, config=CONFIG))
