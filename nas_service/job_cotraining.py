"""How a job says by which terms the halves of a pair learn together; what it leaves out has the trainer's default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nas_service.job_part import Part

Weight = Annotated[float, Field(strict=True, ge=0, le=1000, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]

_READ_THE_ROUTER = ("focus", "cost", "rate")


class PhaseShares(Part):
    """Shares of the epochs; the phase `joint` has what these leave."""

    warm_up: Share = 0.0
    harden: Share = 0.0
    fine_tune: Share = 0.0

    @model_validator(mode="after")
    def _leave_room(self) -> PhaseShares:
        if (total := self.warm_up + self.harden + self.fine_tune) > 1 + 1e-9:
            raise ValueError(f"add up to {total:g} but must leave something, or nothing, of 1 to the phase 'joint'")
        return self

    def shares(self) -> dict[str, float]:
        """Return the share of every phase, `joint` included."""
        rest = max(0.0, 1.0 - self.warm_up - self.harden - self.fine_tune)
        return {"warm_up": self.warm_up, "joint": rest, "harden": self.harden, "fine_tune": self.fine_tune}


class CoTraining(Part):
    """Weights and settings of the terms, as docs/cotraining.md lists them; None is the trainer's default."""

    distillation: Share | None = None
    little_distillation: Share | None = None
    temperature: Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)] | None = None
    little: Weight | None = None
    big: Weight | None = None
    teacher: Literal["in_place", "average", "ensemble"] | None = None
    teacher_decay: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] | None = None
    divergence: Literal["kl", "alpha"] | None = None
    focus: Share | None = None
    system: Weight | None = None
    router: Weight | None = None
    router_head: Literal["logistic", "mlp"] | None = None
    cost: Weight | None = None
    cost_target: Positive | None = None
    multiplier_rate: Positive | None = None
    rate: Weight | None = None
    target_rate: Share | None = None
    gate: Weight | None = None
    gate_share: Share | None = None
    phases: PhaseShares | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> CoTraining:
        if self.little == self.big == 0:
            raise ValueError("little and big are both 0, so no branch would learn; weigh one of them above 0")
        used = [name for name in _READ_THE_ROUTER if getattr(self, name)]
        if used and not (self.router or self.system):
            raise ValueError(
                f"{used[0]} reads the router's escalation probability, which nothing teaches; "
                "set router or system above 0"
            )
        return self

    def given(self) -> dict[str, Any]:
        """Return what the job sets, by the trainer's names; the shares of all phases if any is set."""
        data = self.model_dump(exclude_none=True)
        return data if self.phases is None else {**data, "phases": self.phases.shares()}
