"""What halves are believed to cost on one board class: measured figures where there are some, else predicted ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from nas_service.cost_predictor import LEAST_HALVES, CostPredictor, Quality, cross_validated, fitted_predictor
from nas_service.errors import InvalidRequestError
from nas_service.front_query import HalfCost
from nas_service.half import HalfStructure

QUANTITIES = ("latency_ms", "energy_mj", "memory_kib")
MOST_HALVES = 160  # learnt from at most, those of the least keys, which are as good as drawn
CAUTION = 2.0  # standard deviations by which a cost may turn out lower than predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a half is believed to cost.

    Attributes:
        cost: Measured, or predicted.
        least: What it may cost if the prediction is too high; as `cost` where that was measured.
        measured: Whether it was.
    """

    cost: HalfCost
    least: HalfCost
    measured: bool


class Foresight:
    """Learns from measured halves; what it says is a function of which it knows, in whatever order they came.

    So a search that is resumed, and learns at once what it had learnt bit by bit, decides as it would have.

    Args:
        quantities: What is needed of a half; unless all of it can be predicted, nothing is.
    """

    def __init__(self, *, quantities: Collection[str] = QUANTITIES) -> None:
        self._quantities = [name for name in QUANTITIES if name in quantities]
        self._known: dict[str, tuple[HalfStructure, HalfCost]] = {}
        self._fits: dict[str, tuple[CostPredictor, Quality]] = {}
        self._fitted_at = 0

    def learn(self, key: str, structure: HalfStructure, cost: HalfCost) -> None:
        """Take in what the half of this structure key was measured to cost; a second figure changes nothing."""
        self._known.setdefault(key, (structure, cost))

    @property
    def qualities(self) -> dict[str, Quality]:
        """How well each quantity is predicted; empty before there are enough halves."""
        self._refresh()
        return {name: quality for name, (_, quality) in self._fits.items()}

    def predictor(self, quantity: str) -> CostPredictor:
        """Return what predicts a quantity; InvalidRequestError unless it does so well enough to decide by."""
        self._refresh()
        if quantity not in self._fits:
            raise InvalidRequestError(
                f"{quantity} is known of {len(self._known)} halves, too few to predict others: {LEAST_HALVES} are "
                "needed; raise measurement.pairs"
            )
        predictor, quality = self._fits[quantity]
        if not quality.usable:
            raise InvalidRequestError(
                f"{quantity} cannot be predicted well enough to search by it ({quality}); raise measurement.pairs, or "
                "see what disturbs the boards with `nas board agreement`"
            )
        return predictor

    def measured(self, key: str) -> HalfCost | None:
        """Return a half's measured cost, None if there is none."""
        return self._known[key][1] if key in self._known else None

    def foresee(self, key: str, structure: HalfStructure) -> Foreseen | None:
        """Return what a half is believed to cost, or None if that is not known well enough to decide by."""
        if (cost := self.measured(key)) is not None:
            return Foreseen(cost=cost, least=cost, measured=True)
        self._refresh()
        if len(self._fits) < len(self._quantities) or not all(q.usable for _, q in self._fits.values()):
            return None
        cost = least = HalfCost()
        for name, (predictor, _) in self._fits.items():
            (value,), (deviation,) = predictor.predict([structure])
            cost = replace(cost, **{name: float(value)})
            least = replace(least, **{name: float(value) * max(0.0, 1.0 - CAUTION * float(deviation))})
        return Foreseen(cost=cost, least=least, measured=False)

    def _refresh(self) -> None:
        if len(self._known) == self._fitted_at:
            return
        self._fitted_at, self._fits = len(self._known), {}
        learnt = [self._known[key] for key in sorted(self._known)[:MOST_HALVES]]
        for name in self._quantities:
            found = [(half, value) for half, cost in learnt if (value := getattr(cost, name)) is not None and value > 0]
            if len(found) >= LEAST_HALVES:
                halves, costs = [half for half, _ in found], [value for _, value in found]
                self._fits[name] = fitted_predictor(halves, costs), cross_validated(halves, costs)
