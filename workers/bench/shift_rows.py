"""Rows of shifted test data under frozen thresholds (EVALUATION protocol, section 2.9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from workers.bench.choices import pair_outputs
from workers.bench.finished import BIG, Field, FinishedCell
from workers.bench.rows import Row, RowMaker, x_text
from workers.data.prior import skewed
from workers.protocol.choices import FrozenChoices
from workers.protocol.outcomes import CachedOutputs, Mask
from workers.protocol.shift import ShiftRow, shift_table

DROP_POINTS = 0.5  # the threshold that is held
ALPHAS = (0.1, 0.5)
SKEWS = 10  # draws of the prior
CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """One pair at one frozen threshold, beside the static big on the same images."""

    cell: FinishedCell
    choices: FrozenChoices
    threshold: float

    def row(self, shift: str, outputs: CachedOutputs, reference: Mask | None) -> ShiftRow:
        test = outputs.outcomes(self.cell.choices.test_scores(self.choices.router, outputs))
        return ShiftRow.of(shift, test, self.threshold, costs=self.choices.costs, reference_correct=reference)


def shift_rows(cell: FinishedCell, field: Field) -> Iterator[Row]:
    """Yield accuracy, rate and drop against the static big on every shift, at the threshold for half a point."""
    choices = cell.choices.frozen(str(cell.choices.router))
    threshold = next(c.threshold for c in choices.iso if c.drop_points == DROP_POINTS)
    if threshold is None:
        return
    held, big = _Held(cell=cell, choices=choices, threshold=threshold), field.reference(BIG, cell)
    corrupted = {
        name: held.row(name, pair_outputs(outputs), None if big is None else _correct(big, name))
        for name, outputs in cell.shift.items()
    }
    clean = corrupted.pop(CLEAN)
    table = shift_table(clean, list(corrupted.values()))
    make = cell.maker.on(router=choices.router, split="shift")
    for shift in (clean, *corrupted.values(), *_skews(held, big)):
        yield from _rows(make, shift)
    for name, points in zip(corrupted, table.extra_drop_points, strict=True):
        yield make.row("extra_drop_points", points, x=name)
    yield make.row("share_worse", table.share_worse(), x="corruptions")


def _skews(held: _Held, big: FinishedCell | None) -> Iterator[ShiftRow]:
    """Yield the behaviour on draws of skewed class priors of the test images."""
    outputs, labels = pair_outputs(held.cell.test), held.cell.test.labels
    for alpha in ALPHAS:
        for draw in range(SKEWS):
            at = skewed(labels, alpha=alpha, seed=draw, size=max(1, len(labels) // 10))
            part = CachedOutputs(
                little_logits=outputs.little_logits[at],
                escalated_logits=outputs.escalated_logits[at],
                labels=labels[at],
            )
            yield held.row(f"prior_{x_text(alpha)}-{draw}", part, None if big is None else big.correct[at])


def _rows(make: RowMaker, shift: ShiftRow) -> Iterator[Row]:
    figures = {"accuracy": shift.accuracy, "rate": shift.rate, "macs": shift.cost, "drop_points": shift.drop_points}
    for measure, value in figures.items():
        yield make.row(f"shift_{measure}", value, x=shift.shift)


def _correct(cell: FinishedCell, shift: str) -> Mask | None:
    """Return whether a static net is right on the same shifted images; None if it was not run there."""
    outputs = cell.shift.get(shift)
    return None if outputs is None else np.asarray(outputs.logits[-1].argmax(axis=1) == outputs.labels)
