"""Operating points: named thresholds, chosen on the calibration split, with what they promise there.

The test split's figures are put beside them when everything is chosen; nothing is ever chosen by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_agent.records import OperatingPoint, Promise
from nas_service.curve import Curve, Threshold
from workers.routing.scored import PointThreshold, Scored

DROPS = (0.0, 0.2, 0.5, 1.0)  # percentage points below the escalated accuracy
DEFAULT = "iso-0.5"
Costs = Mapping[str, tuple[float, float]]  # objective -> cost of the little, and what the tail adds on escalation


def choose_thresholds(calibration: Curve) -> dict[str, Threshold]:
    """Return threshold by name: `never`, `always`, `best` (most accurate), and `iso-D`.

    `iso-D` escalates least among those at most D percentage points less accurate than escalating everything.
    """
    always = float(calibration.accuracy[-1])
    indices = {"never": 0, "always": len(calibration.thresholds) - 1, "best": int(np.argmax(calibration.correct))}
    for drop in DROPS:
        index = calibration.cheapest_index(always - drop / 100 - 1e-12)
        indices[f"iso-{drop:.1f}"] = len(calibration.thresholds) - 1 if index is None else index
    return {name: calibration.threshold(index) for name, index in indices.items()}


def promise(scored: Scored, threshold: PointThreshold, *, costs: Costs) -> Promise:
    """Return accuracy, escalation rate and costs that routing by `threshold` has on the images of `scored`."""
    rate = scored.rate(threshold)
    return Promise(
        accuracy=scored.accuracy(threshold),
        escalation_rate=rate,
        expected_cost={name: little + rate * tail for name, (little, tail) in costs.items()},
        worst_cost={name: little + tail for name, (little, tail) in costs.items()},
        n=scored.n,
    )


def operating_points(
    thresholds: Mapping[str, PointThreshold], *, calibration: Scored, test: Scored | None, costs: Costs
) -> tuple[OperatingPoint, ...]:
    """Return the operating points with their promise on calibration images and, if given, their test figures."""
    return tuple(
        OperatingPoint(
            name=name,
            threshold=threshold,
            calibration=promise(calibration, threshold, costs=costs),
            test=None if test is None else promise(test, threshold, costs=costs),
        )
        for name, threshold in thresholds.items()
    )
