"""Areas under accuracy: normalised between the random and the oracle router, and raw over a fixed cost interval.

EVALUATION protocol, section 2.4: `nAUC = (A - A_rand) / (A_oracle - A_rand)`, A the integral of accuracy over the
escalation rate. Inputs of equal score are routed together, and between two thresholds one may toss a coin, so the curve
is linear there. With `A_rand = aL + (p01 - p10) / 2` and `A_oracle = aL + p01 - p01^2 / 2 - p10^2 / 2`, the denominator
is `(p01 (1 - p01) + p10 (1 - p10)) / 2`. The expected cost of a pair is linear in the rate, so that its nAUC over cost
is the same number; `normalised_cost_area` computes it from costs all the same, for systems where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.oracle import Oracle
from workers.protocol.outcomes import Floats, Outcomes, PathCosts

_CHUNK = 100  # resamples at a time: 10,000 images of them are 4 MB


def normalised_area(outcomes: Outcomes) -> float | None:
    """Return nAUC over the escalation rate: 0 random, 1 oracle; None if no order of inputs differs from another."""
    return None if all_alike(outcomes) else float(_normalised(outcomes, np.ones((1, outcomes.n)))[0])


def normalised_area_interval(outcomes: Outcomes, resamples: Resamples) -> Interval | None:
    """Return nAUC with its paired bootstrap interval; None where `normalised_area` is.

    Resamples in which all inputs gain alike are left out.
    """
    estimate = normalised_area(outcomes)
    if estimate is None:
        return None
    rows = [resamples.counts[i : i + _CHUNK] for i in range(0, len(resamples.counts), _CHUNK)]
    samples = np.concatenate([_normalised(outcomes, row) for row in rows])
    return Interval.of(estimate, samples[~np.isnan(samples)])


def normalised_cost_area(outcomes: Outcomes, *, costs: PathCosts) -> float | None:
    """Return nAUC over the expected cost, from the cheapest to the dearest routing; None as `normalised_area`."""
    oracle, curve = Oracle.of(outcomes), outcomes.curve
    bends = np.unique([0.0, oracle.p01, 1 - oracle.p10, 1.0])
    best = _area(costs.expected_all(bends), oracle.accuracy(bends))
    ends = np.array([0.0, 1.0])
    chance = _area(costs.expected_all(ends), oracle.random_accuracy(ends))
    area = _area(curve.expected_cost(costs.least, costs.tail), curve.accuracy)
    return None if all_alike(outcomes) else (area - chance) / (best - chance)


def all_alike(outcomes: Outcomes) -> bool:
    """Return whether escalating changes every input in the same way, so that all routers are equal."""
    return bool((outcomes.gain == outcomes.gain[0]).all())


def absolute_area(
    cost: Floats | Sequence[float],
    accuracy: Floats | Sequence[float],
    *,
    interval: tuple[float, float],
    floor: float = 0.0,
) -> float:
    """Return the mean accuracy over a cost interval that is the same for every system: it compares systems.

    Below the system's cheapest point it answers without a net, so accuracy is `floor` (a guess: one over the number of
    classes); above a point it keeps the best accuracy reached so far; between points it is linear.

    Args:
        cost: (K,) of the system's points, in any order.
        accuracy: (K,) in [0, 1].
        interval: From the least cost of any system compared to the largest.
        floor: In [0, 1].

    Raises:
        InvalidRequestError: an empty interval, or no points.
    """
    low, high = interval
    if not low < high or not len(cost) or len(cost) != len(accuracy):
        raise InvalidRequestError(
            f"interval {interval} over {len(cost)} costs and {len(accuracy)} accuracies; give low < high and points"
        )
    order = np.lexsort((np.asarray(accuracy), np.asarray(cost)))
    x = np.asarray(cost, dtype=np.float64)[order]
    y = np.maximum.accumulate(np.asarray(accuracy, dtype=np.float64)[order])
    start = min(max(low, float(x[0])), high)
    grid = np.concatenate([[start], x[(x > start) & (x < high)], [high]])
    return ((start - low) * floor + _area(grid, np.interp(grid, x, y))) / (high - low)


def _normalised(outcomes: Outcomes, counts: NDArray[np.floating]) -> Floats:
    """Return (B,) nAUC with image n drawn counts[b, n] times; NaN where all inputs gain alike."""
    order = np.argsort(outcomes.scores, kind="stable")
    ascending = outcomes.scores[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ascending) > 0) + 1])
    weights = counts[:, order] / counts.dtype.type(outcomes.n)
    gain = outcomes.gain[order].astype(counts.dtype)
    step = np.add.reduceat(weights, starts, axis=1, dtype=np.float64)
    rise = np.add.reduceat(weights * gain, starts, axis=1, dtype=np.float64)
    above_little = (step * (np.cumsum(rise, axis=1) - rise / 2)).sum(axis=1)
    p01 = weights @ (gain > 0).astype(counts.dtype)
    p10 = weights @ (gain < 0).astype(counts.dtype)
    best = (p01 * (1 - p01) + p10 * (1 - p10)) / 2
    chance = (p01 - p10) / 2
    return np.asarray(np.divide(above_little - chance, best, out=np.full(len(best), np.nan), where=best > 1e-6))


def _area(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
