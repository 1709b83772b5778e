"""Which terms a pair learns from besides labels and in-place distillation, as a value, and in which phases.

With the defaults nothing but the plain losses is computed. A weight of 0 leaves its term out, not merely weighs it out.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from nas_service.errors import InvalidRequestError

Phase = Literal["warm_up", "joint", "harden", "fine_tune"]
Teacher = Literal["in_place", "average", "ensemble"]
Divergence = Literal["kl", "alpha"]
Head = Literal["logistic", "mlp"]
PHASES: tuple[Phase, ...] = get_args(Phase)
FIRMEST = 8.0  # a log odds of 1, g = 0.73, is then 0.9997
_CHOICES: dict[str, tuple[str, ...]] = {
    "teacher": get_args(Teacher),
    "divergence": get_args(Divergence),
    "router_head": get_args(Head),
}
_WEIGHTS = ("little", "big", "system", "cost", "router", "rate", "gate")
_SHARES = ("focus", "cost_target", "target_rate", "gate_share")
_WITH_ROUTER = ("focus", "cost", "rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Shares of the epochs, adding up to 1.

    Attributes:
        warm_up: The big of the teaching pair learns alone.
        joint: Both halves learn, from all terms but the gate.
        harden: As joint, while the router's escalation probability is sharpened to a decision.
        fine_tune: The architecture is frozen; the gate is on.
    """

    warm_up: float = 0.0
    joint: float = 1.0
    harden: float = 0.0
    fine_tune: float = 0.0

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in PHASES]
        if not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            given = ", ".join(f"{name} {share:g}" for name, share in zip(PHASES, shares, strict=True))
            raise InvalidRequestError(f"phases are {given}, but must lie in [0, 1] and add up to 1")

    def at(self, epoch: int, epochs: int) -> Phase:
        """Return the phase of epoch `epoch`, from 0, of `epochs`; borders are rounded to whole epochs."""
        end = 0.0
        for name in PHASES:
            end += getattr(self, name)
            if epoch < round(end * epochs):
                return name
        return next(name for name in reversed(PHASES) if getattr(self, name) > 0)

    def firmness(self, epoch: int, epochs: int) -> float:
        """Return what the router's log odds are multiplied by in epoch `epoch`: 1, then up to FIRMEST while hardening.

        Geometric, so that every epoch sharpens alike; after `harden` it stays at FIRMEST, as deployed routers decide.
        """
        begin, end = (round(share * epochs) for share in (self.warm_up + self.joint, 1 - self.fine_tune))
        if self.harden == 0 or end <= begin:
            return 1.0
        return float(FIRMEST ** min(1.0, max(0.0, (epoch + 1 - begin) / (end - begin))))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoTraining:
    """Weights and settings of the co-training terms; `g(x)` is the co-trained router's escalation probability.

    Attributes:
        little: Weight, >= 0, of the little's branch (labels and distillation).
        big: Weight, >= 0, of the escalated branch.
        teacher: What is distilled: `in_place` (the escalated logits themselves), `average` (those of the moving average
            of all weights), `ensemble` (the mean of both halves' probabilities).
        teacher_decay: Of the moving average, in [0, 1).
        divergence: `kl`, or `alpha`, the greater of two alpha-divergences, which punishes over- and underestimating.
        focus: beta in [0, 1]: an image weighs `1 + beta g(x)` in the escalated branch.
        system: Weight of the routed system's likelihood, `-log((1 - g) p_little[y] + g p_big[y])`.
        router: Weight of the router's cross-entropy on the target `little wrong and big right`.
        router_head: `logistic` or `mlp`.
        cost: Weight of `multiplier * [E(C) - C*]_+ / C*`.
        cost_target: C* as a share, in (0, 1], of what the pair costs when everything is escalated.
        multiplier_rate: Step of the multiplier's dual ascent, > 0.
        rate: Weight of KL(target_rate || mean g), which keeps the router from always or never escalating.
        target_rate: In [0, 1].
        gate: Weight, in the phase `fine_tune`, of a little that is sure where it is right and unsure where it is wrong.
        gate_share: Share, in [0, 1], of the part that is right.
        phases: When what is trained.
    """

    little: float = 1.0
    big: float = 1.0
    teacher: Teacher = "in_place"
    teacher_decay: float = 0.998
    divergence: Divergence = "kl"
    focus: float = 0.0
    system: float = 0.0
    router: float = 0.0
    router_head: Head = "logistic"
    cost: float = 0.0
    cost_target: float = 0.5
    multiplier_rate: float = 0.01
    rate: float = 0.0
    target_rate: float = 0.3
    gate: float = 0.0
    gate_share: float = 0.5
    phases: Phases = Phases()

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r}; choose one of: {', '.join(allowed)}")
        for name in _WEIGHTS:
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidRequestError(f"{name} is {getattr(self, name):g} but must be at least 0 and finite")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name):g} but must lie in [0, 1]")
        if self.cost_target == 0 or not 0 < self.multiplier_rate < math.inf:
            raise InvalidRequestError("cost_target and multiplier_rate must be above 0, multiplier_rate finite")
        if not 0 <= self.teacher_decay < 1:
            raise InvalidRequestError(f"teacher_decay is {self.teacher_decay:g} but must lie in [0, 1)")
        self._check_together()

    def _check_together(self) -> None:
        if self.little == self.big == 0:
            raise InvalidRequestError("little and big are both 0, so no branch would learn; weigh one of them above 0")
        used = [name for name in _WITH_ROUTER if getattr(self, name) > 0]
        if used and self.router == self.system == 0:
            raise InvalidRequestError(
                f"{used[0]} reads the router's escalation probability, which nothing teaches; "
                "set router or system above 0"
            )

    @property
    def routes(self) -> bool:
        """Whether a router is trained with the pair."""
        return self.router > 0 or self.system > 0

    def only_fine_tuning(self) -> CoTraining:
        """Return the same terms with every epoch in the phase `fine_tune`: for a pair whose architecture is chosen."""
        return replace(self, phases=Phases(joint=0.0, fine_tune=1.0))

    def to_dict(self) -> dict[str, Any]:
        """Return the terms as JSON-able data, the exact inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoTraining:
        """Return the terms in `data`; InvalidRequestError for unknown keys."""
        _refuse_unknown(data, cls, what="co-training")
        phases = data.get("phases", {})
        _refuse_unknown(phases, Phases, what="phase")
        return cls(**{**data, "phases": Phases(**phases)})


def _refuse_unknown(data: dict[str, Any], kind: type[CoTraining] | type[Phases], *, what: str) -> None:
    known = [f.name for f in fields(kind)]
    if unknown := sorted(set(data) - set(known)):
        raise InvalidRequestError(f"unknown {what} key {unknown[0]!r}; choose from: {', '.join(known)}")
