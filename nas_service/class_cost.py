"""What pairs cost on a board class, as a value that can be shipped to where supernets are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from nas_service.cost_predictor import CostPredictor
from nas_service.half import halves_of
from nas_service.plan import PairPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassCost:
    """One quantity on one board class, predicted from halves that its boards measured.

    Attributes:
        unit: Of all costs, such as `ms`.
        predictor: Learnt from those halves.
    """

    unit: str
    predictor: CostPredictor = field(repr=False)

    def halves(self, plan: PairPlan) -> tuple[float, float]:
        """Return what the little costs and what escalation adds."""
        halves = halves_of(plan)
        (little, tail), _ = self.predictor.predict([halves["little"], halves["big"]])
        return float(little), float(tail)
