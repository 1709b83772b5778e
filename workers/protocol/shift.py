"""Frozen thresholds on shifted data.

EVALUATION protocol, section 2.9: what changes against the static big, the realised escalation rate and cost, and how
often the routed system is worse than the static one by more than it is on clean data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.protocol.answers import Answers
from workers.protocol.outcomes import Mask
from workers.protocol.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftRow(Record):
    """One shift, for example `gaussian noise 3`: accuracies and rate in [0, 1], cost in the costs' unit."""

    shift: str
    n: int
    accuracy: float
    reference_accuracy: float
    rate: float
    cost: float

    @classmethod
    def of(cls, shift: str, answers: Answers, *, reference_correct: Mask | None = None) -> ShiftRow:
        """Return the row of answers on shifted inputs; the reference is the static big on them, or the last exit."""
        reference = answers.correct[-1] if reference_correct is None else reference_correct
        return cls(
            shift=shift,
            n=answers.n,
            accuracy=float(answers.right.mean()),
            reference_accuracy=float(reference.mean()),
            rate=float(answers.escalated.mean()),
            cost=float(answers.cost.mean()),
        )

    @property
    def drop_points(self) -> float:
        """Percentage points that the static big is more accurate."""
        return 100 * (self.reference_accuracy - self.accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftTable(Record):
    """The clean row and the shifted ones, at the same threshold."""

    clean: ShiftRow
    rows: tuple[ShiftRow, ...]

    @property
    def extra_drop_points(self) -> tuple[float, ...]:
        """For each shift, its drop against the big beyond the clean drop, in percentage points."""
        return tuple(row.drop_points - self.clean.drop_points for row in self.rows)

    def share_worse(self, *, margin_points: float = 0.0) -> float:
        """Return the share of shifts in which the routed system loses more than `margin_points` to the static big."""
        return float(np.mean([row.drop_points > margin_points for row in self.rows]))


def skewed_indices(
    labels: NDArray[np.integer], *, classes: int, concentration: float, size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return (size,) indices whose class prior is one draw of a symmetric Dirichlet, images drawn with replacement.

    Args:
        labels: (N,) every class must occur.
        classes: Number of classes.
        concentration: > 0; the smaller, the more skewed.
        size: Images to draw.
        rng: Draws the prior, then the images.

    Raises:
        InvalidRequestError: a concentration that is not positive, or a class without images.
    """
    members = [np.flatnonzero(labels == index) for index in range(classes)]
    if concentration <= 0 or not all(len(indices) for indices in members):
        raise InvalidRequestError(
            f"concentration {concentration} over {sum(map(bool, map(len, members)))} of {classes} classes; give one "
            "above 0, and at least one image of every class"
        )
    counts = rng.multinomial(size, rng.dirichlet(np.full(classes, concentration)))
    return np.concatenate([rng.choice(of, size=int(n)) for of, n in zip(members, counts, strict=True)]).astype(np.int64)


def shift_table(clean: ShiftRow, rows: Sequence[ShiftRow]) -> ShiftTable:
    """Return the table; InvalidRequestError without a shifted row."""
    if not rows:
        raise InvalidRequestError("a shift table without a shift; give at least one row")
    return ShiftTable(clean=clean, rows=tuple(rows))
