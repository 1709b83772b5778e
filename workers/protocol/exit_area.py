"""nAUC of a net with several exits: where its curve lies between random and perfect routing of the same outputs.

EVALUATION protocol, section 2.4, for any number of exits. An input that leaves at exit e costs c_e and is right or
wrong there, so all that routers can do with it on average lies below the concave hull of its own points, and all they
can do with a split below the mean of these hulls. That is the oracle; it is found by taking the hulls' slopes in
falling order. A random router treats all inputs alike: it reaches the concave hull of the mean points. With two exits
both are the lines of `oracle`.
"""

from __future__ import annotations

import numpy as np

from nas_service.errors import InvalidRequestError
from workers.protocol.exits import AppliedExits, ExitOutcomes
from workers.protocol.outcomes import Floats, Mask


def exit_area(outcomes: ExitOutcomes, applied: AppliedExits, *, costs: Floats) -> float | None:
    """Return nAUC over the expected cost: 0 random, 1 oracle; None if all routers are equal.

    Between rows of thresholds, and from them to leaving at the first and at the last exit, one may toss a coin, so the
    curve is linear there.

    Args:
        outcomes: On test.
        applied: The frozen thresholds on test.
        costs: (E,) cumulative and rising.

    Raises:
        InvalidRequestError: costs of another number of exits.
    """
    exits = len(outcomes.correct)
    if len(costs) != exits:
        raise InvalidRequestError(f"{len(costs)} costs for {exits} exits; give one for each")
    anytime = outcomes.anytime()
    chance = _area(*_hull(costs, anytime))
    best = _area(*oracle_curve(outcomes.correct, costs=costs))
    rows = np.column_stack([applied.cost, applied.accuracy])
    rows = np.vstack([(costs[0], anytime[0]), rows[np.lexsort(rows.T[::-1])], (costs[-1], anytime[-1])])
    return None if best - chance <= 1e-12 else (_area(rows[:, 0], rows[:, 1]) - chance) / (best - chance)


def oracle_curve(correct: Mask, *, costs: Floats) -> tuple[Floats, Floats]:
    """Return the oracle's mean costs (K,), rising from c_0 to c_E, and accuracies (K,).

    Args:
        correct: (E, N) whether each exit is right.
        costs: (E,).
    """
    exits, n = correct.shape
    ever = correct.any(axis=0)
    first = np.where(ever, correct.argmax(axis=0), 0)
    last = np.where(ever, exits - 1 - correct[::-1].argmax(axis=0), exits - 1)
    # An input's hull: up to its first right exit, flat to its last, down to the net's last.
    rise, flat, fall = costs[first] - costs[0], costs[last] - costs[first], costs[-1] - costs[last]
    gains = np.concatenate([ever & (first > 0), np.zeros(n), -(ever & (last < exits - 1)).astype(float)])
    spent = np.concatenate([rise, flat, fall])
    used = spent > 0
    gains, spent = gains[used].astype(np.float64), spent[used]
    order = np.argsort(-gains / spent, kind="stable")
    cost = costs[0] + np.concatenate([[0.0], np.cumsum(spent[order])]) / n
    accuracy = correct[0].mean() + np.concatenate([[0.0], np.cumsum(gains[order])]) / n
    return cost, accuracy


def _hull(cost: Floats, accuracy: Floats) -> tuple[Floats, Floats]:
    """Return the corners of the upper concave hull from the first point to the last, costs rising."""
    kept: list[int] = []
    for index in range(len(cost)):
        while len(kept) > 1 and _bends_up(cost, accuracy, kept[-2], kept[-1], index):
            kept.pop()
        kept.append(index)
    return np.asarray(cost)[kept], np.asarray(accuracy)[kept]


def _bends_up(x: Floats, y: Floats, a: int, b: int, c: int) -> bool:
    return bool((y[b] - y[a]) * (x[c] - x[b]) <= (y[c] - y[b]) * (x[b] - x[a]))


def _area(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
