"""What the two branches of a pair learn from: labels, and each other in place.

In-place distillation (Yu and Huang, Universally Slimmable Networks, ICCV 2019): the largest pair learns from labels and
teaches every other big; each little learns from the escalated logits of its own pair, which it will be compared with.
Teachers are always detached.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from workers.train_config import TrainConfig


def distillation(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return `T^2 KL(teacher || student)` of logits (N, classes) at temperature T, without gradient to the teacher."""
    target = F.log_softmax(teacher.detach() / temperature, dim=1)
    logs = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(logs, target, reduction="batchmean", log_target=True) * temperature**2


def branch_loss(
    logits: Tensor, labels: Tensor, *, teacher: Tensor | None, weight: float, config: TrainConfig
) -> Tensor:
    """Return `(1 - weight)` cross-entropy plus `weight` distillation; without a teacher, cross-entropy alone."""
    hard = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    if teacher is None or weight == 0:
        return hard
    return (1 - weight) * hard + weight * distillation(logits, teacher, temperature=config.temperature)


def pair_losses(
    little: Tensor, escalated: Tensor, labels: Tensor, *, teacher: Tensor | None, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Return the losses of the little and of the escalated branch.

    Args:
        little: (N, classes) the little's logits.
        escalated: (N, classes) the escalated logits, which carry no gradient into the little.
        labels: (N,) int64.
        teacher: (N, classes) the largest pair's escalated logits, or None for the largest pair itself.
        config: Weights of the terms.
    """
    return (
        branch_loss(little, labels, teacher=escalated, weight=config.little_distillation, config=config),
        branch_loss(escalated, labels, teacher=teacher, weight=config.distillation, config=config),
    )
