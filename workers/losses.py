"""What the two branches of a pair learn from: labels, and each other in place.

In-place distillation (Yu and Huang, Universally Slimmable Networks, ICCV 2019): the largest pair learns from labels and
teaches every other big; each little learns from the escalated logits of its own pair, which it will be compared with.
Teachers are always detached.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from workers.cotraining.likelihood import alpha_divergence
from workers.train_config import TrainConfig


def distillation(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return `T^2 KL(teacher || student)` of logits (N, classes) at temperature T, without gradient to the teacher."""
    target = F.log_softmax(teacher.detach() / temperature, dim=1)
    logs = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(logs, target, reduction="batchmean", log_target=True) * temperature**2


def branch_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    teacher: Tensor | None,
    weight: float,
    config: TrainConfig,
    importance: Tensor | None = None,
) -> Tensor:
    """Return `(1 - weight)` cross-entropy plus `weight` distillation; without a teacher, cross-entropy alone.

    Args:
        logits: (N, classes).
        labels: (N,) int64, or (N, classes) soft labels.
        teacher: (N, classes) logits, or None.
        weight: In [0, 1].
        config: Temperature, label smoothing and divergence.
        importance: (N,) what each image counts for; None: all 1.
    """
    hard = _hard(logits, labels, importance=importance, config=config)
    if teacher is None or weight == 0:
        return hard
    return (1 - weight) * hard + weight * _soft(logits, teacher, importance=importance, config=config)


def pair_losses(
    little: Tensor, escalated: Tensor, labels: Tensor, *, teacher: Tensor | None, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Return the plain losses of the little and of the escalated branch, as if no other term were on.

    Args:
        little: (N, classes) the little's logits.
        escalated: (N, classes) the escalated logits, which carry no gradient into the little.
        labels: (N,) int64, or (N, classes) soft labels.
        teacher: (N, classes) the largest pair's escalated logits, or None for the largest pair itself.
        config: Weights of the terms.
    """
    return (
        branch_loss(little, labels, teacher=escalated, weight=config.little_distillation, config=config),
        branch_loss(escalated, labels, teacher=teacher, weight=config.distillation, config=config),
    )


def _hard(logits: Tensor, labels: Tensor, *, importance: Tensor | None, config: TrainConfig) -> Tensor:
    if importance is None:
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    each = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
    return (importance * each).mean()


def _soft(logits: Tensor, teacher: Tensor, *, importance: Tensor | None, config: TrainConfig) -> Tensor:
    temperature = config.temperature
    if config.cotraining.divergence == "alpha":
        each = alpha_divergence(logits, teacher, temperature=temperature)
    elif importance is None:
        return distillation(logits, teacher, temperature=temperature)
    else:
        target = F.log_softmax(teacher.detach() / temperature, dim=1)
        logs = F.log_softmax(logits / temperature, dim=1)
        each = F.kl_div(logs, target, reduction="none", log_target=True).sum(1) * temperature**2
    return (each if importance is None else importance * each).mean()
