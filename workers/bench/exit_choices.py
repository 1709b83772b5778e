"""Choices of a net with more than two exits: MSDNet's thresholds, frozen on calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workers.bench.scoring import formula_scores
from workers.bench.system import ExitCosts, SystemOutputs
from workers.protocol.answers import Answers
from workers.protocol.area import absolute_area
from workers.protocol.choices import DROPS_POINTS
from workers.protocol.exits import AppliedExits, ExitOutcomes, ExitSweep
from workers.protocol.outcomes import LIMITS, Floats
from workers.protocol.record import Record
from workers.protocol.saving import BUDGET_TOLERANCE
from workers.routers import SCORES

ONE_SIDED = 1.645  # standard deviations that a normal figure exceeds once in 20 times
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioChoice(Record):
    """A row of the sweep, chosen on calibration for a budget or a tolerated drop; None where no row will do."""

    value: float
    row: int | None
    calibration_accuracy: float | None
    calibration_cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitChoices(Record):
    """Under one router: the thresholds of every row, and the rows chosen.

    Attributes:
        router: `msp`, `margin` or `entropy`, of every exit's logits.
        sweep: The thresholds.
        budgets: For every budget the most accurate row of at most that cost.
        iso: For every tolerated drop, in percentage points, the cheapest row that loses at most that to the last exit.
        validation_area: Mean accuracy over the costs of the exits on validation, which routers are chosen by.
    """

    router: str
    sweep: ExitSweep
    budgets: tuple[RatioChoice, ...]
    iso: tuple[RatioChoice, ...]
    validation_area: float

    def answers(self, outputs: SystemOutputs, row: int, *, costs: Sequence[float]) -> Answers:
        """Return the answers to some outputs under one row's thresholds; `costs` (E,) are cumulative."""
        outcomes = exit_outcomes(outputs, self.router)
        return Answers(correct=outcomes.correct, taken=self.sweep.exits(outcomes)[row], costs=np.asarray(costs))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExitChoices:
        """Return the choices that `to_dict` wrote."""
        rows = [[LIMITS.get(v, v) for v in row] for row in values["sweep"]["thresholds"]]
        return cls(
            router=values["router"],
            sweep=ExitSweep(ratios=tuple(values["sweep"]["ratios"]), thresholds=np.array(rows, dtype=np.float64)),
            budgets=tuple(RatioChoice(**v) for v in values["budgets"]),
            iso=tuple(RatioChoice(**v) for v in values["iso"]),
            validation_area=values["validation_area"],
        )


def exit_outcomes(outputs: SystemOutputs, router: str) -> ExitOutcomes:
    """Return scores and correctness of every exit."""
    return ExitOutcomes(
        scores=np.stack([formula_scores(router, logits) for logits in outputs.logits]),
        correct=outputs.logits.argmax(axis=2) == outputs.labels,
    )


def freeze_exits(
    held_out: Mapping[str, SystemOutputs], *, costs: ExitCosts, budgets: Sequence[float]
) -> tuple[ExitChoices, ...]:
    """Return the choices under every router from outputs on `calibration` and `validation`."""
    return tuple(freeze_router(router, held_out, costs=costs, budgets=budgets) for router in SCORES)


def freeze_router(
    router: str, held_out: Mapping[str, SystemOutputs], *, costs: ExitCosts, budgets: Sequence[float]
) -> ExitChoices:
    """Return the choices under one router."""
    macs, outcomes = np.asarray(costs.macs), exit_outcomes(held_out["calibration"], router)
    sweep = ExitSweep.freeze(outcomes)
    applied = sweep.apply(outcomes, costs=macs)
    best = float(outcomes.anytime()[-1])
    return ExitChoices(
        router=router,
        sweep=sweep,
        budgets=tuple(_for_budget(applied, budget, macs=macs, n=outcomes.scores.shape[1]) for budget in budgets),
        iso=tuple(_for_drop(applied, drop, best=best) for drop in DROPS_POINTS),
        validation_area=_area(sweep.apply(exit_outcomes(held_out["validation"], router), costs=macs), macs),
    )


def _for_budget(applied: AppliedExits, budget: float, *, macs: Floats, n: int) -> RatioChoice:
    """Return the most accurate row that test will probably keep within 1 % of the budget, as for pairs."""
    spread = np.sqrt(2 / n * np.maximum(applied.shares @ macs**2 - applied.cost**2, 0))
    rows = np.flatnonzero(
        (applied.cost <= budget * (1 + _ROUNDING))
        & (applied.cost + ONE_SIDED * spread <= budget * (1 + BUDGET_TOLERANCE))
    )
    return _choice(applied, budget, int(rows[np.argmax(applied.accuracy[rows])]) if len(rows) else None)


def _for_drop(applied: AppliedExits, drop: float, *, best: float) -> RatioChoice:
    rows = np.flatnonzero(applied.accuracy >= best - drop / 100 - _ROUNDING)
    return _choice(applied, drop, int(rows[np.argmin(applied.cost[rows])]) if len(rows) else None)


def _choice(applied: AppliedExits, value: float, row: int | None) -> RatioChoice:
    return RatioChoice(
        value=value,
        row=row,
        calibration_accuracy=None if row is None else float(applied.accuracy[row]),
        calibration_cost=None if row is None else float(applied.cost[row]),
    )


def _area(applied: AppliedExits, macs: Floats) -> float:
    return absolute_area(applied.cost, applied.accuracy, interval=(float(macs[0]), float(macs[-1])))
