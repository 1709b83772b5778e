"""Rows of a net with more than two exits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workers.bench.exit_choices import ExitChoices, RatioChoice, exit_outcomes
from workers.bench.finished import FinishedCell
from workers.bench.rows import Row, RowMaker
from workers.protocol.bootstrap import Resamples
from workers.protocol.envelope import StaticEnvelope
from workers.protocol.outcomes import Floats, Mask
from workers.protocol.saving import BUDGET_TOLERANCE


def exit_rows(cell: FinishedCell, envelope: StaticEnvelope | None, resamples: Resamples) -> Iterator[Row]:
    """Yield accuracy at the budgets, gain over static nets, savings and the sweep under the chosen router."""
    choices = next(c for c in cell.choices.exits if c.router == cell.choices.router)
    make = cell.maker.on(router=choices.router)
    correct, cost = _applied(cell, choices)
    for accuracy, macs in zip(correct.mean(axis=1), cost, strict=True):
        yield make.row("sweep_accuracy", float(accuracy), x=float(macs))
    for choice in choices.budgets:
        yield from _budget_rows(make, choice, correct, cost, envelope, resamples)
    for choice in choices.iso:
        drop = saving = None
        if choice.row is not None:
            drop = resamples.interval(cell.correct.astype(float) - correct[choice.row], scale=100)
            saving = 1 - float(cost[choice.row]) / cell.choices.reference_macs
        yield make.row("saving", saving, x=choice.value)
        yield make.row("drop_own_points", drop, x=choice.value)


def _applied(cell: FinishedCell, choices: ExitChoices) -> tuple[Mask, Floats]:
    """Return (P, N) whether each row of thresholds is right on test, and (P,) its mean MACs."""
    outcomes = exit_outcomes(cell.test, choices.router)
    taken = choices.sweep.exits(outcomes)
    return (
        np.take_along_axis(outcomes.correct, taken, axis=0),
        choices.sweep.apply(outcomes, costs=np.asarray(cell.choices.macs)).cost,
    )


def _budget_rows(
    make: RowMaker,
    choice: RatioChoice,
    correct: Mask,
    cost: Floats,
    envelope: StaticEnvelope | None,
    resamples: Resamples,
) -> Iterator[Row]:
    row, accuracy, macs, gain = choice.row, None, None, None
    if row is not None:
        macs = float(cost[row])
        if macs <= choice.value * (1 + BUDGET_TOLERANCE):
            accuracy = float(correct[row].mean())
            static = None if envelope is None else envelope.per_image(max(macs, choice.value))
            gain = None if static is None else resamples.interval(correct[row] - static, scale=100)
    yield make.row("accuracy_at_budget", accuracy, x=choice.value)
    yield make.row("macs_at_budget", macs, x=choice.value)
    yield make.row("gain_points", gain, x=choice.value)
