"""Rows of a net with more than two exits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workers.bench.exit_choices import ExitChoices, RatioChoice, exit_outcomes
from workers.bench.finished import Field, FinishedCell
from workers.bench.rows import Row, RowMaker, behaviour_rows
from workers.protocol.area import absolute_area
from workers.protocol.bootstrap import Resamples
from workers.protocol.envelope import StaticEnvelope
from workers.protocol.exit_area import exit_area
from workers.protocol.outcomes import Floats, Mask
from workers.protocol.report import behaviour_of
from workers.protocol.saving import BUDGET_TOLERANCE


def exit_rows(cell: FinishedCell, field: Field, resamples: Resamples) -> Iterator[Row]:
    """Yield how well every router ranks and, of the chosen one, what is said of pairs as far as it has a meaning."""
    for router in cell.choices.exits:
        yield cell.maker.on(router=router.router).row("nauc", _area(cell, router))
    choices = next(c for c in cell.choices.exits if c.router == cell.choices.router)
    make, comparison = cell.maker.on(router=choices.router), field.comparison(cell)
    correct, cost = _applied(cell, choices)
    yield make.row("nauc_cost", _area(cell, choices))
    if comparison.cost_interval is not None:
        floor = 1 / len(comparison.classes)
        area = absolute_area(cost, correct.mean(axis=1), interval=comparison.cost_interval, floor=floor)
        yield make.row("area", area)
    for accuracy, macs in zip(correct.mean(axis=1), cost, strict=True):
        yield make.row("sweep_accuracy", float(accuracy), x=float(macs))
    for choice in choices.budgets:
        yield from _budget_rows(make, choice, correct, cost, comparison.envelope, resamples)
    for choice in choices.iso:
        drop = saving = None
        if choice.row is not None:
            drop = resamples.interval(cell.correct.astype(float) - correct[choice.row], scale=100)
            saving = 1 - float(cost[choice.row]) / cell.choices.reference_macs
        yield make.row("saving", saving, x=choice.value)
        yield make.row("drop_own_points", drop, x=choice.value)
        if choice.row is not None:
            if comparison.reference_correct is not None:
                against = comparison.reference_correct.astype(float) - correct[choice.row]
                yield make.row("drop_static_points", resamples.interval(against, scale=100), x=choice.value)
            answers = choices.answers(cell.test, choice.row, costs=cell.choices.macs)
            behaviour = behaviour_of(choice.value, answers, cell.test.labels, comparison, resamples)
            yield from behaviour_rows(make, behaviour)


def _area(cell: FinishedCell, choices: ExitChoices) -> float | None:
    """Return nAUC over the MACs; of a pair it is the same number over the escalation rate."""
    outcomes, macs = exit_outcomes(cell.test, choices.router), np.asarray(cell.choices.macs)
    return exit_area(outcomes, choices.sweep.apply(outcomes, costs=macs), costs=macs)


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
