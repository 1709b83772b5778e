"""Everything that is chosen on calibration data, fixed before the test split is opened.

EVALUATION protocol, section 2.3: `tau* = cheapest threshold with Acc_cal >= Acc_cal(reference) - d`; a budget's
threshold is the most accurate on calibration among those of at most that expected cost there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import LIMITS, Mask, Outcomes, PathCosts
from workers.protocol.record import Record
from workers.protocol.sweep import POINTS, FrozenSweep

DROPS_POINTS = (0.0, 0.2, 0.5, 1.0)
VERSION = 1
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoChoice(Record):
    """The cheapest threshold that loses at most `drop_points` percentage points against the reference on calibration.

    `threshold` is None, and what follows from it, if no threshold is that accurate there.
    """

    drop_points: float
    reference_accuracy: float
    threshold: float | None
    calibration_accuracy: float | None
    calibration_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChoice(Record):
    """The most accurate threshold on calibration of at most `budget` there; None if even never escalating is dearer."""

    budget: float
    threshold: float | None
    calibration_accuracy: float | None
    calibration_cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrozenChoices(Record):
    """A system's choices: nothing here has seen a test image.

    Attributes:
        system: Its name.
        router: The score's name.
        costs: Of its paths.
        sweep: The thresholds of the primary curve.
        iso: For every tolerated drop.
        budgets: For every cost budget.
        calibration_n: Images of the calibration split.
        temperature: Of the little's softmax, 1.0 if it is not scaled.
        class_thresholds: By class that the little predicts; None where there is one for all. Where they are given, the
            scores of the other thresholds are `score - class threshold`.
        version: Of this format.
    """

    system: str
    router: str
    costs: PathCosts
    sweep: FrozenSweep
    iso: tuple[IsoChoice, ...]
    budgets: tuple[BudgetChoice, ...] = ()
    calibration_n: int
    temperature: float = 1.0
    class_thresholds: tuple[float, ...] | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise InvalidRequestError(
                f"frozen choices of format {self.version}; this code reads {VERSION}; freeze again"
            )

    @property
    def sha256(self) -> str:
        """Digest of every choice: two systems with the same digest route alike."""
        text = json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def iso_at(self, drop_points: float) -> IsoChoice:
        """Return the choice for a tolerated drop of `DROPS_POINTS`."""
        return next(choice for choice in self.iso if choice.drop_points == drop_points)

    def shifted(self, scores: NDArray[np.floating], predicted: NDArray[np.integer]) -> NDArray[np.floating]:
        """Return (N,) the scores that the thresholds are for: less the threshold of the class that the little predicts.

        Where there is one for all classes they are as they were.
        """
        if self.class_thresholds is None:
            return scores
        return np.asarray(scores.astype(np.float64) - np.array(self.class_thresholds)[predicted])

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FrozenChoices:
        """Return the choices that `to_dict` wrote; InvalidRequestError for other keys."""
        known = set(cls.__dataclass_fields__)
        if set(values) != known:
            raise InvalidRequestError(
                f"frozen choices have keys {sorted(values)} but need {sorted(known)}; write them with to_dict"
            )
        sweep = {name: np.array([_number(v) for v in column]) for name, column in values["sweep"].items()}
        classes = values["class_thresholds"]
        return cls(
            **{name: values[name] for name in ("system", "router", "calibration_n", "temperature", "version")},
            costs=PathCosts(**values["costs"]),
            sweep=FrozenSweep(**sweep),
            iso=tuple(IsoChoice(**{**v, "threshold": _number(v["threshold"])}) for v in values["iso"]),
            budgets=tuple(BudgetChoice(**{**v, "threshold": _number(v["threshold"])}) for v in values["budgets"]),
            class_thresholds=None if classes is None else tuple(_number(v) for v in classes),
        )


def freeze(
    system: str,
    *,
    calibration: Outcomes,
    costs: PathCosts,
    router: str,
    reference_correct: Mask | None = None,
    budgets: Sequence[float] = (),
    points: int = POINTS,
    temperature: float = 1.0,
    class_thresholds: Sequence[float] | None = None,
) -> FrozenChoices:
    """Return every choice of a system from its calibration outcomes.

    Args:
        system: A name.
        calibration: Scored after temperature and class thresholds were fitted, on the calibration split.
        costs: Of the system's paths.
        router: The score's name.
        reference_correct: (N,) whether the static big is right on calibration; None: the system's own escalation.
        budgets: Expected costs to choose a threshold for, in the costs' unit.
        points: Of the sweep.
        temperature: That the scores were made with.
        class_thresholds: That the scores were made with.

    Raises:
        InvalidRequestError: the reference is of another number of images.
    """
    reference = calibration.escalated_correct if reference_correct is None else reference_correct
    if len(reference) != calibration.n:
        raise InvalidRequestError(
            f"the reference has {len(reference)} images but calibration {calibration.n}; use the same split"
        )
    curve = calibration.curve
    return FrozenChoices(
        system=system,
        router=router,
        costs=costs,
        sweep=FrozenSweep.freeze(calibration.scores, points=points),
        iso=tuple(choose_iso(curve, drop, reference_accuracy=float(reference.mean())) for drop in DROPS_POINTS),
        budgets=tuple(choose_for_budget(curve, budget, costs=costs) for budget in budgets),
        calibration_n=calibration.n,
        temperature=temperature,
        class_thresholds=None if class_thresholds is None else tuple(class_thresholds),
    )


def choose_iso(calibration: Curve, drop_points: float, *, reference_accuracy: float) -> IsoChoice:
    """Return the choice of least escalation that loses at most `drop_points` percentage points."""
    index = calibration.cheapest_index(reference_accuracy - drop_points / 100 - _ROUNDING)
    return IsoChoice(
        drop_points=drop_points,
        reference_accuracy=reference_accuracy,
        threshold=None if index is None else float(calibration.thresholds[index]),
        calibration_accuracy=None if index is None else float(calibration.accuracy[index]),
        calibration_rate=None if index is None else float(calibration.escalation_rate[index]),
    )


def choose_for_budget(calibration: Curve, budget: float, *, costs: PathCosts) -> BudgetChoice:
    """Return the most accurate choice whose expected calibration cost is at most `budget`; the cheapest of equals."""
    cost = calibration.expected_cost(costs.least, costs.tail)
    affordable = np.flatnonzero(cost <= budget * (1 + _ROUNDING))
    index = int(affordable[np.argmax(calibration.correct[affordable])]) if len(affordable) else None
    return BudgetChoice(
        budget=budget,
        threshold=None if index is None else float(calibration.thresholds[index]),
        calibration_accuracy=None if index is None else float(calibration.accuracy[index]),
        calibration_cost=None if index is None else float(cost[index]),
    )


def _number(value: Any) -> Any:
    """Return a threshold as a number: `never` and `always` are the infinities."""
    return LIMITS[value] if isinstance(value, str) else value
