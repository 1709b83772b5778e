"""How a finished pair routes: its router, temperature and thresholds, all chosen on calibration outputs alone.

What is fitted and what is chosen on the same images looks better there than it is. So the calibration images are
halved, every other one for each purpose, wherever that matters:

- `learned`: the router is fitted on the first half, because on the images of its own fit it knows which ones escalation
  mended; on training images there would be nothing to learn at all, the little being hardly ever wrong there (JEI-DNN,
  arXiv 2310.09163). Halving rather than cross-fitting, since the promise is then that of the very router in the graph.
- `risk`: the guarantee needs images that fixed neither the scores nor the list of thresholds (Learn then Test).

Otherwise both halves are the whole: a temperature is one number, and it does not change who is right. Calibration
outputs are the only argument, so no choice can have seen the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from workers.evaluation import Outputs
from workers.operating_points import choose_thresholds
from workers.protocol.sweep import FrozenSweep
from workers.routers import LEARNED, Router, check_router
from workers.routing.class_thresholds import fit_class_thresholds
from workers.routing.learned import can_learn
from workers.routing.risk_control import control_risk
from workers.routing.scored import PointThreshold, Scored, named
from workers.routing.temperature import fit_temperature

CLASS_SUFFIX = "-by-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A guarantee asked for: with probability 1 - `delta`, routing adds at most `epsilon` to the error; both in (0, 1).

    The error added is counted against escalating everything, as a share: 0.01 is one percentage point.
    """

    epsilon: float = 0.01
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < 1 and 0 < self.delta < 1):
            raise InvalidRequestError(f"risk epsilon {self.epsilon} and delta {self.delta}; both must lie in (0, 1)")

    @property
    def point(self) -> str:
        """Name of the operating point."""
        return f"risk-{self.epsilon:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """What is fitted for a bundle beside the usual thresholds.

    Attributes:
        temperature: Scale the softmax of `msp`, `margin` and `entropy`, where that makes no threshold worse on average.
        class_thresholds: Add points with a threshold for each class that the little predicts.
        risk: Add a point with a guarantee.
    """

    temperature: bool = True
    class_thresholds: bool = False
    risk: Risk | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routing:
    """What was chosen.

    Attributes:
        router: Ready to score.
        thresholds: By operating point.
        calibration: The images that chose the thresholds, under the router.
        fit: How everything came about, JSON-able.
        notes: What was asked for and could not be had, in words.
    """

    router: Router
    thresholds: dict[str, PointThreshold]
    calibration: Scored = field(repr=False)
    fit: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()


def choose_routing(calibration: Outputs, *, router: str, options: RoutingOptions | None = None) -> Routing:
    """Return router and thresholds for a pair with these outputs on the calibration split.

    Args:
        calibration: Outputs of what is deployed (of an int8 pair for an int8 bundle), in the order of the images.
        router: `msp`, `margin`, `entropy` or `learned`.
        options: What else to fit; None: the defaults.

    Raises:
        InvalidRequestError: unknown router, or fewer than two images.
    """
    check_router(router)
    wanted = options or RoutingOptions()
    halved = router == LEARNED or wanted.risk is not None
    fitting, choosing = _halves(calibration) if halved else (calibration, calibration)
    ready, fit, notes = _fit_router(router, fitting, temperature=wanted.temperature)
    scored = choosing.scored(ready)
    thresholds: dict[str, PointThreshold] = dict(choose_thresholds(scored.curve))
    if wanted.class_thresholds:
        thresholds |= _class_points(thresholds, scored)
    if wanted.risk is not None:
        points, certificate, note = _risk_point(wanted.risk, scored, grid=ready.scores(fitting.little_logits))
        thresholds, fit, notes = thresholds | points, fit | {"risk": certificate}, notes + note
    counts = {"fit_n": len(fitting.labels), "choose_n": len(choosing.labels), "halved": halved}
    return Routing(router=ready, thresholds=thresholds, calibration=scored, fit=fit | counts, notes=notes)


def _halves(outputs: Outputs) -> tuple[Outputs, Outputs]:
    """Return the outputs of every other image, twice."""
    every = np.arange(len(outputs.labels), dtype=np.int64)
    if len(every) < 2:
        raise InvalidRequestError(f"{len(every)} calibration image cannot be halved; give more calibration data")
    return outputs.rows(every[0::2]), outputs.rows(every[1::2])


def _fit_router(name: str, outputs: Outputs, *, temperature: bool) -> tuple[Router, dict[str, Any], tuple[str, ...]]:
    """Return the router, how it was fitted, and notes."""
    fit: dict[str, Any] = {"router": name}
    if name == LEARNED:
        mended, is_taught = int(outputs.benefit.sum()), can_learn(outputs.benefit)
        fit |= {"mended": mended, "taught": is_taught}
        note = (
            f"the router could not be learned: escalation mends {mended} of {len(outputs.labels)} held-out images, too "
            "few or too many; its score is the margin of the two best log-probabilities; give more calibration data"
        )
        return outputs.fitted(name), fit, () if is_taught else (note,)
    plain = Router(name=name)
    if not temperature:
        return plain, fit, ()
    found = fit_temperature(outputs.little_logits.numpy(), outputs.labels)
    scaled = Router(name=name, temperature=found.value)
    is_kept = _area(outputs.scored(scaled).curve) >= _area(outputs.scored(plain).curve)
    return (scaled if is_kept else plain), fit | {"temperature": {**found.to_dict(), "kept": is_kept}}, ()


def _area(curve: Curve) -> float:
    """Return the mean accuracy over escalation rates from 0 to 1; ties in the scores cost, as they cost choices."""
    return float(np.trapezoid(curve.accuracy, curve.escalation_rate))


def _class_points(thresholds: Mapping[str, PointThreshold], scored: Scored) -> dict[str, PointThreshold]:
    """Return a point of class thresholds for each threshold that it beats: no more escalated, and more accurate."""
    points: dict[str, PointThreshold] = {}
    outcomes = scored.outcomes
    for name, threshold in thresholds.items():
        if name in ("never", "always"):
            continue
        found = fit_class_thresholds(
            outcomes.scores,
            predicted=scored.predicted,
            little_correct=outcomes.little_correct,
            escalated_correct=outcomes.escalated_correct,
            classes=scored.classes,
            rate=scored.rate(threshold),
        )
        if found.calibration_accuracy > scored.accuracy(threshold):
            points[name + CLASS_SUFFIX] = found.thresholds
    return points


def _risk_point(
    risk: Risk, scored: Scored, *, grid: NDArray[np.float32]
) -> tuple[dict[str, PointThreshold], dict[str, Any], tuple[str, ...]]:
    """Return the guaranteed point, if there is one besides escalating everything, its certificate, and notes."""
    found = control_risk(
        scored.outcomes, thresholds=FrozenSweep.freeze(grid).thresholds, max_increase=risk.epsilon, delta=risk.delta
    )
    threshold = None if found.threshold is None else named(found.threshold)
    if threshold is None or threshold == "always":
        note = (
            f"no operating point {risk.point!r}: {scored.n} images certify no threshold that adds at most "
            f"{risk.epsilon:g} to the error with probability {1 - risk.delta:g}, only escalating everything; give more "
            "calibration data, or a larger epsilon or delta"
        )
        return {}, found.to_dict(), (note,)
    return {risk.point: threshold}, found.to_dict(), ()
