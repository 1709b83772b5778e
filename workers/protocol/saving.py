"""Iso-accuracy saving and iso-cost gain: frozen choices, scored on test with paired bootstrap intervals.

EVALUATION protocol, section 2.3: `S(d) = 1 - C(tau*) / mB` with the test drop that was achieved, and
`G(b) = Acc_dyn(C <= b) - staticPareto(b)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.choices import BudgetChoice, IsoChoice
from workers.protocol.envelope import StaticEnvelope
from workers.protocol.outcomes import Mask, Outcomes, PathCosts
from workers.protocol.record import Record

BUDGET_TOLERANCE = 0.01  # a point counts for a budget when its test cost is within 1 % of it or below


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoSaving(Record):
    """S(d) on test.

    Attributes:
        choice: What calibration chose; where it chose nothing, the test figures are None.
        accuracy: Test accuracy in [0, 1].
        rate: Realised escalation rate.
        cost: Realised expected cost.
        saving: Share of the static big's cost, with its interval.
        drop_points: Percentage points that the reference is more accurate on test, with its interval.
    """

    choice: IsoChoice
    accuracy: float | None = None
    rate: float | None = None
    cost: float | None = None
    saving: Interval | None = None
    drop_points: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoCostGain(Record):
    """G(b) on test.

    Attributes:
        choice: What calibration chose.
        accuracy: Test accuracy in [0, 1].
        cost: Realised expected cost.
        within_budget: Whether that is at most 1 % above the budget: else the point does not count for it.
        static_accuracy: The envelope's at the budget or the realised cost, whichever is more; None below its first net.
        gain_points: Percentage points above that, with its interval.
    """

    choice: BudgetChoice
    accuracy: float | None = None
    cost: float | None = None
    within_budget: bool = False
    static_accuracy: float | None = None
    gain_points: Interval | None = None


def iso_saving(
    choice: IsoChoice, test: Outcomes, *, costs: PathCosts, resamples: Resamples, reference_correct: Mask | None = None
) -> IsoSaving:
    """Return S(d) on test; the reference is the static big's correctness (N,), None for the system's own escalation."""
    if choice.threshold is None:
        return IsoSaving(choice=choice)
    reference = test.escalated_correct if reference_correct is None else reference_correct
    escalated, correct = test.escalates(choice.threshold), test.correct(choice.threshold)
    rate = float(escalated.mean())
    cost = costs.expected(rate)
    savings = 1 - costs.expected_all(resamples.means(escalated)) / costs.big
    return IsoSaving(
        choice=choice,
        accuracy=float(correct.mean()),
        rate=rate,
        cost=cost,
        saving=Interval.of(costs.saving(cost), savings),
        drop_points=resamples.interval(reference.astype(float) - correct, scale=100),
    )


def iso_cost_gain(
    choice: BudgetChoice, test: Outcomes, *, costs: PathCosts, envelope: StaticEnvelope, resamples: Resamples
) -> IsoCostGain:
    """Return G(b) on test against `envelope`, whose mixture of nets is held fixed over the resamples."""
    if choice.threshold is None:
        return IsoCostGain(choice=choice)
    correct = test.correct(choice.threshold)
    cost = costs.expected(float(test.escalates(choice.threshold).mean()))
    static = envelope.per_image(max(cost, choice.budget))
    return IsoCostGain(
        choice=choice,
        accuracy=float(correct.mean()),
        cost=cost,
        within_budget=cost <= choice.budget * (1 + BUDGET_TOLERANCE),
        static_accuracy=None if static is None else float(static.mean()),
        gain_points=None if static is None else resamples.interval(correct - static, scale=100),
    )
