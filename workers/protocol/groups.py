"""Behaviour by class and by difficulty.

EVALUATION protocol, section 2.8: accuracy, escalation rate and expected cost of every class, the worst class's drop
against the big, and the same over quintiles of difficulty, which is the loss of a third model, neither little nor big.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata

from nas_service.errors import InvalidRequestError
from workers.protocol.answers import Answers
from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.outcomes import Floats, Mask
from workers.protocol.record import Record

QUANTILES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow(Record):
    """One group of inputs at one threshold: shares in [0, 1], cost in the costs' unit."""

    group: str
    n: int
    accuracy: float
    rate: float
    cost: float
    little_accuracy: float
    reference_accuracy: float

    @property
    def drop_points(self) -> float:
        """Percentage points that the reference is more accurate."""
        return 100 * (self.reference_accuracy - self.accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable(Record):
    """Rows by group, without groups that have no input."""

    rows: tuple[GroupRow, ...]

    @property
    def worst(self) -> GroupRow:
        """The row of the largest drop against the reference."""
        return max(self.rows, key=lambda row: row.drop_points)

    @property
    def rate_rises(self) -> bool:
        """Whether no group escalates less than the one before; wanted where groups go from easy to hard."""
        rates = [row.rate for row in self.rows]
        return all(a <= b for a, b in pairwise(rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstGroup(Record):
    """The group of the largest drop against the reference.

    Attributes:
        group: Its name.
        drop_points: Percentage points; the interval is of the largest drop, whichever group's that is on a resample.
    """

    group: str
    drop_points: Interval


def group_table(
    answers: Answers, *, groups: NDArray[np.integer], names: tuple[str, ...], reference_correct: Mask | None = None
) -> GroupTable:
    """Return one row for each group that has inputs.

    Args:
        answers: On test, thresholds frozen.
        groups: (N,) indices into names: the labels, or `difficulty_groups`.
        names: Of the groups.
        reference_correct: (N,) whether the static big is right; None: the system's own last exit.

    Raises:
        InvalidRequestError: groups of another number of inputs, or beyond the names.
    """
    if len(groups) != answers.n or groups.min() < 0 or groups.max() >= len(names):
        raise InvalidRequestError(
            f"{len(groups)} groups from {groups.min()} to {groups.max()} for {answers.n} inputs and {len(names)} "
            "names; give one index into the names for every input"
        )
    escalated, right, cost = answers.escalated, answers.right, answers.cost
    reference = answers.correct[-1] if reference_correct is None else reference_correct
    rows = []
    for index, name in enumerate(names):
        inside = groups == index
        if inside.any():
            rows.append(
                GroupRow(
                    group=name,
                    n=int(inside.sum()),
                    accuracy=float(right[inside].mean()),
                    rate=float(escalated[inside].mean()),
                    cost=float(cost[inside].mean()),
                    little_accuracy=float(answers.correct[0, inside].mean()),
                    reference_accuracy=float(reference[inside].mean()),
                )
            )
    return GroupTable(rows=tuple(rows))


def worst_group(
    answers: Answers,
    *,
    groups: NDArray[np.integer],
    names: tuple[str, ...],
    resamples: Resamples,
    reference_correct: Mask | None = None,
) -> WorstGroup:
    """Return the group of the largest drop; arguments and errors are those of `group_table`."""
    table = group_table(answers, groups=groups, names=names, reference_correct=reference_correct)
    reference = answers.correct[-1] if reference_correct is None else reference_correct
    inside = groups == np.arange(len(names))[:, None]  # (K, N)
    lost = resamples.means(inside * (reference.astype(float) - answers.right))
    sizes = resamples.means(inside)
    # A group that a resample leaves empty is not its worst.
    drops = np.divide(100 * lost, sizes, out=np.full_like(lost, -np.inf), where=sizes > 0)
    worst = table.worst
    return WorstGroup(group=worst.group, drop_points=Interval.of(worst.drop_points, drops.max(axis=0)))


def cross_entropy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Return (N,) the loss in nats of logits (N, classes): of a third model, the difficulty of the inputs."""
    logs = log_softmax(logits.astype(np.float64), axis=1)
    return np.asarray(-logs[np.arange(len(labels)), labels])


def difficulty_groups(losses: Floats, *, quantiles: int = QUANTILES) -> NDArray[np.int64]:
    """Return (N,) the quantile from 0 (easiest) of each loss (N,); equal losses share one, so sizes may differ."""
    ranks = rankdata(losses, method="min") - 1
    return np.asarray(ranks * quantiles // len(losses), dtype=np.int64)
