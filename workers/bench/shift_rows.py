"""Rows of shifted test data under frozen thresholds (EVALUATION protocol, section 2.9).

Of the hard half of test under two: from all calibration images, and from the easy half of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from workers.bench.choices import pair_outputs
from workers.bench.exit_choices import ExitChoices
from workers.bench.finished import BIG, Field, FinishedCell
from workers.bench.rows import Row, RowMaker, x_text
from workers.bench.system import SystemOutputs
from workers.bench.variants import DROP_POINTS, easy_half
from workers.data.prior import skewed
from workers.protocol.answers import Answers
from workers.protocol.choices import FrozenChoices
from workers.protocol.outcomes import Mask
from workers.protocol.shift import ShiftRow, shift_table

ALPHAS = (0.1, 0.5)
SKEWS = 10  # draws of the prior
CLEAN, HARD, EASY_TO_HARD = "clean", "hard", "easy_to_hard"

Held = Callable[[SystemOutputs], Answers]
"""A system at frozen thresholds: outputs in, answers out."""


def shift_rows(cell: FinishedCell, field: Field) -> Iterator[Row]:
    """Yield accuracy, rate and drop against the static big on every shift, at the thresholds for half a point."""
    held, big = _held(cell, cell.choices.chosen), field.reference(BIG, cell)
    if held is None:
        return
    corrupted = {
        name: ShiftRow.of(name, held(outputs), reference_correct=None if big is None else _correct(big, name))
        for name, outputs in cell.shift.items()
    }
    clean = corrupted.pop(CLEAN)
    table = shift_table(clean, list(corrupted.values()))
    make = cell.maker.on(router=str(cell.choices.router), split="shift")
    for shift in (clean, *corrupted.values(), *_skews(cell, held, big)):
        yield from _rows(make, shift)
    for name, points in zip(corrupted, table.extra_drop_points, strict=True):
        yield make.row("extra_drop_points", points, x=name)
    yield make.row("share_worse", table.share_worse(), x="corruptions")


def hard_rows(cell: FinishedCell, field: Field) -> Iterator[Row]:
    """Yield accuracy, rate and drop against the static big on the half of test that a third net finds hard."""
    third, big = field.third(cell), field.reference(BIG, cell)
    if third is None:
        return
    hard = ~easy_half(third.test.logits[-1], third.test.labels)
    part, reference = cell.test.part(hard), None if big is None else big.correct[hard]
    for name, choices in {HARD: cell.choices.chosen, EASY_TO_HARD: cell.choices.on_easy}.items():
        if held := _held(cell, choices):
            make = cell.maker.on(router=str(cell.choices.router), split="shift")
            yield from _rows(make, ShiftRow.of(name, held(part), reference_correct=reference))


def _held(cell: FinishedCell, choices: FrozenChoices | ExitChoices | None) -> Held | None:
    """Return the cell's system under some choices, at the thresholds for half a point; None where there are none."""
    if choices is None:
        return None
    if isinstance(choices, FrozenChoices):
        return _held_pair(cell, choices)
    row = next(c.row for c in choices.iso if c.value == DROP_POINTS)
    return None if row is None else lambda outputs: choices.answers(outputs, row, costs=cell.choices.macs)


def _held_pair(cell: FinishedCell, choices: FrozenChoices) -> Held | None:
    threshold = choices.iso_at(DROP_POINTS).threshold
    if threshold is None:
        return None

    def held(outputs: SystemOutputs) -> Answers:
        pair = pair_outputs(outputs)
        test = pair.outcomes(cell.choices.test_scores(choices.router, pair))
        return Answers.of_pair(test, threshold, costs=choices.costs)

    return held


def _skews(cell: FinishedCell, held: Held, big: FinishedCell | None) -> Iterator[ShiftRow]:
    """Yield the behaviour on draws of skewed class priors of the test images."""
    labels = cell.test.labels
    for alpha in ALPHAS:
        for draw in range(SKEWS):
            at = skewed(labels, alpha=alpha, seed=draw, size=max(1, len(labels) // 10))
            reference = None if big is None else big.correct[at]
            drawn = held(cell.test.part(at))
            yield ShiftRow.of(f"prior_{x_text(alpha)}-{draw}", drawn, reference_correct=reference)


def _rows(make: RowMaker, shift: ShiftRow) -> Iterator[Row]:
    figures = {"accuracy": shift.accuracy, "rate": shift.rate, "macs": shift.cost, "drop_points": shift.drop_points}
    for measure, value in figures.items():
        yield make.row(f"shift_{measure}", value, x=shift.shift)


def _correct(cell: FinishedCell, shift: str) -> Mask | None:
    """Return whether a static net is right on the same shifted images; None if it was not run there."""
    outputs = cell.shift.get(shift)
    return None if outputs is None else np.asarray(outputs.logits[-1].argmax(axis=1) == outputs.labels)
