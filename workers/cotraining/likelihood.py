"""Losses that see the pair as one system: its likelihood under soft routing, the gate, and what halves teach."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def system_loss(little: Tensor, escalated: Tensor, log_odds: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of `-log((1 - g) p_little[y] + g p_big[y])`, with gradient to all three.

    The likelihood of the routed system, as in confidence-weighted joint training (Scardapane et al., Differentiable
    Branching in Deep Networks, 2020); computed from logarithms, so that a router that is sure stays finite.

    Args:
        little: (N, classes) logits.
        escalated: (N, classes) logits.
        log_odds: (N,) of escalation.
        truth: (N,) int64, or (N, classes) soft labels.
    """
    stay = F.logsigmoid(-log_odds)[:, None] + F.log_softmax(little, dim=1)
    go = F.logsigmoid(log_odds)[:, None] + F.log_softmax(escalated, dim=1)
    routed = torch.logaddexp(stay, go)
    return F.nll_loss(routed, truth) if truth.ndim == 1 else -(truth * routed).sum(1).mean()


def gate_loss(little: Tensor, labels: Tensor, *, share: float) -> Tensor:
    """Return `share` CE where the little is right plus `(1 - share)` KL(p_little || uniform) where it is wrong.

    After Rabanser et al., Gatekeeper, 2025: the little grows surer where it is right and less sure where it is wrong,
    at some cost in its own accuracy. Means are over all N inputs.

    Args:
        little: (N, classes) logits.
        labels: (N,) int64.
        share: In [0, 1].
    """
    logs = F.log_softmax(little, dim=1)
    right = (little.argmax(1) == labels).float()
    to_uniform = (logs.exp() * logs).sum(1) + math.log(little.shape[1])
    sure = F.nll_loss(logs, labels, reduction="none")
    return (share * right * sure + (1 - share) * (1 - right) * to_uniform).mean()


def alpha_divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return (N,) `T^2` times the greater of the alpha-divergences of -1 and 1, without gradient to the teacher.

    After Wang et al., AlphaNet, ICML 2021: alpha = 1 is KL(teacher || student), which punishes a student that
    underestimates; alpha = -1 one that overestimates. The value is the divergence; its gradient is the paper's, with
    the powers of the probabilities' ratio clipped at 5.
    """
    p = F.log_softmax(teacher.detach() / temperature, dim=1)
    q = F.log_softmax(student / temperature, dim=1)
    both = torch.stack([_divergence(p, q, alpha=alpha) for alpha in (-1.0, 1.0)])
    return both.gather(0, both.detach().argmax(0, keepdim=True))[0] * temperature**2


def _divergence(p: Tensor, q: Tensor, *, alpha: float, clip: float = 5.0) -> Tensor:
    """Return (N,) D_alpha(p || q) of log-probabilities; its gradient is `-sum q min(t^alpha, 5) / alpha grad log q`."""
    power = ((p - q.detach()) * alpha).exp().clamp(max=clip)
    if alpha == 1.0:
        value = (p.exp() * (p - q.detach())).sum(1)
    else:
        value = ((q.detach().exp() * power).sum(1) - 1) / (alpha * (alpha - 1))
    slope = -(q.detach().exp() * power / alpha * q).sum(1)
    return value + slope - slope.detach()


def ensemble(little: Tensor, escalated: Tensor) -> Tensor:
    """Return log-probabilities (N, classes) of the mean of both halves' probabilities, without gradient.

    As a teacher, after Lee and Lee, Students are the Best Teacher: Exit-Ensemble Distillation, 2021.
    """
    both = torch.stack([F.log_softmax(little.detach(), dim=1), F.log_softmax(escalated.detach(), dim=1)])
    return torch.logsumexp(both, dim=0) - math.log(2)
