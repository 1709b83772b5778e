"""Every measure of the protocol for every finished cell, as tidy rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workers.bench.choices import pair_outputs
from workers.bench.exit_judging import exit_rows
from workers.bench.finished import Field, FinishedCell, labels_of
from workers.bench.rows import Row, RowMaker, behaviour_rows
from workers.bench.scoring import INFORMED, informed_scores
from workers.bench.shift_rows import hard_rows, shift_rows
from workers.bench.variants import DROP_POINTS
from workers.bench.versus import versus_rows
from workers.protocol.answers import Answers
from workers.protocol.area import normalised_area_interval
from workers.protocol.bootstrap import RESAMPLES, Resamples
from workers.protocol.choices import FrozenChoices
from workers.protocol.outcomes import CachedOutputs, Outcomes, PathCosts
from workers.protocol.report import Comparison, SystemReport, behaviour_of, judge
from workers.protocol.saving import BUDGET_TOLERANCE, IsoSaving, iso_saving
from workers.protocol.sealed import SealedTest
from workers.routing.choice import CLASS_SUFFIX

RATES = (0.1, 0.2, 0.3, 0.5, 0.7)
COSTS = (
    "tera_macs", "search_tera_macs", "params", "weights_bytes", "reference_macs", "cpu_hours", "wall_hours",
)  # fmt: skip


def judge_all(cells: Sequence[FinishedCell], *, classes: tuple[str, ...], resamples: int = RESAMPLES) -> list[Row]:
    """Return all figures of all finished cells, a pure function of what is on disk.

    Raises:
        ConflictError: cells that saw different test images.
    """
    if not cells:
        return []
    drawn = Resamples.draw(len(labels_of(cells)), rng=np.random.default_rng(0), count=resamples)
    field = Field(cells=cells, classes=classes)
    rows = [row for cell in cells for row in _cell_rows(cell, field, drawn)]
    return [*rows, *versus_rows(cells, resamples=drawn)]


def _cell_rows(cell: FinishedCell, field: Field, resamples: Resamples) -> Iterator[Row]:
    yield from _cost_rows(cell)
    for index, (logits, macs) in enumerate(zip(cell.test.logits, cell.choices.macs, strict=True)):
        correct = logits.argmax(axis=1) == cell.test.labels
        yield cell.maker.row(f"exit{index}_accuracy", resamples.interval(correct), x=macs)
    if cell.choices.exits:
        yield from exit_rows(cell, field, resamples)
    if cell.choices.routers:
        yield from _pair_rows(cell, field, resamples)
    if cell.routed and cell.shift:
        yield from shift_rows(cell, field)
    if cell.routed:
        yield from hard_rows(cell, field)


def _cost_rows(cell: FinishedCell) -> Iterator[Row]:
    make = cell.maker.on(split="train")
    for measure in COSTS:
        yield make.row(measure, cell.record[measure])
    for phase, epochs in cell.record["epochs"].items():
        yield make.row("epochs", epochs, x=phase)


def _pair_rows(cell: FinishedCell, field: Field, resamples: Resamples) -> Iterator[Row]:
    outputs, comparison = pair_outputs(cell.test), field.comparison(cell)
    informed = normalised_area_interval(outputs.outcomes(informed_scores(outputs)), resamples)
    yield cell.maker.on(router=INFORMED).row("nauc", informed)
    for frozen in cell.choices.routers:
        scores = cell.choices.test_scores(frozen.router, outputs)
        # The cell opened the test split once, for the choices under all routers; here each router reads what it found.
        report = judge(
            frozen,
            SealedTest(lambda _: outputs),
            scorer=lambda _, scores=scores: scores,  # type: ignore[misc]
            comparison=comparison,
            resamples=resamples,
        )
        test, make = outputs.outcomes(scores), cell.maker.on(router=frozen.router)
        yield make.on(split="validation").row("nauc", cell.choices.validation_areas.get(frozen.router))
        yield from _router_rows(make, report)
        yield from _budget_rows(make, frozen, test, report, resamples)
        if frozen.router == cell.choices.router:
            yield from _chosen_rows(make, report)
            for saving in report.savings:
                yield from _saving_rows(make, saving, test, frozen.costs, resamples)
            for behaviour in report.behaviour:
                yield from behaviour_rows(make, behaviour)
    yield from _by_class_rows(cell, outputs, comparison, resamples)


def _by_class_rows(
    cell: FinishedCell, outputs: CachedOutputs, comparison: Comparison, resamples: Resamples
) -> Iterator[Row]:
    """Yield what class thresholds save and lose on test; nothing where none were frozen."""
    frozen = cell.choices.by_class
    if frozen is None:
        return
    test = outputs.outcomes(frozen.shifted(cell.choices.test_scores(frozen.router, outputs), outputs.predicted))
    make, choice = cell.maker.on(router=frozen.router + CLASS_SUFFIX), frozen.iso_at(DROP_POINTS)
    reference = comparison.reference_correct
    saving = iso_saving(choice, test, costs=frozen.costs, resamples=resamples, reference_correct=reference)
    yield from _saving_rows(make, saving, test, frozen.costs, resamples)
    if choice.threshold is not None:
        answers = Answers.of_pair(test, choice.threshold, costs=frozen.costs)
        yield from behaviour_rows(make, behaviour_of(DROP_POINTS, answers, outputs.labels, comparison, resamples))


def _router_rows(make: RowMaker, report: SystemReport) -> Iterator[Row]:
    """Yield how well a router ranks."""
    yield make.row("nauc", report.normalised_area)
    yield make.row("nauc_cost", report.normalised_cost_area)
    for name in ("failure_auroc", "benefit_auroc", "benefit_aupr", "aurc", "e_aurc"):
        yield make.row(name, getattr(report.quality, name))


def _budget_rows(
    make: RowMaker, frozen: FrozenChoices, test: Outcomes, report: SystemReport, resamples: Resamples
) -> Iterator[Row]:
    """Yield the accuracy at every budget that the test MACs keep to within 1 %, and the gain over static nets there."""
    for choice in frozen.budgets:
        if choice.threshold is None:
            yield make.row("accuracy_at_budget", None, x=choice.budget)
            continue
        cost = frozen.costs.expected(float(test.escalates(choice.threshold).mean()))
        correct = test.correct(choice.threshold) if cost <= choice.budget * (1 + BUDGET_TOLERANCE) else None
        yield make.row("accuracy_at_budget", None if correct is None else resamples.interval(correct), x=choice.budget)
        yield make.row("macs_at_budget", cost, x=choice.budget)
    for gain in report.gains:
        yield make.row("static_accuracy", gain.static_accuracy, x=gain.choice.budget)
        yield make.row("gain_points", gain.gain_points if gain.within_budget else None, x=gain.choice.budget)


def _saving_rows(
    make: RowMaker, saving: IsoSaving, test: Outcomes, costs: PathCosts, resamples: Resamples
) -> Iterator[Row]:
    """Yield S(d); the drop on test against the system's own escalation and, where there is one, the static big."""
    drop = saving.choice.drop_points
    own = iso_saving(saving.choice, test, costs=costs, resamples=resamples)
    yield make.row("saving", saving.saving, x=drop)
    yield make.row("accuracy_at_drop", saving.accuracy, x=drop)
    yield make.row("rate_at_drop", saving.rate, x=drop)
    yield make.row("drop_own_points", own.drop_points, x=drop)
    yield make.row("drop_static_points", saving.drop_points, x=drop)


def _chosen_rows(make: RowMaker, report: SystemReport) -> Iterator[Row]:
    """Yield what is told of the chosen router alone: areas, oracle, calibration, the whole sweep."""
    sweep, oracle = report.sweep, report.oracle
    figures = {"area": report.absolute_area, "p01": oracle.p01, "p10": oracle.p10}
    figures |= {"ece_before": report.ece[0], "ece_after": report.ece[1], "worst_gap": sweep.worst_transfer_gap}
    for measure, value in figures.items():
        yield make.row(measure, value)
    for cost, accuracy in zip(sweep.cost, sweep.accuracy, strict=True):
        yield make.row("sweep_accuracy", float(accuracy), x=float(cost))
    for rate in RATES:
        nearest = int(np.abs(sweep.rate - rate).argmin())
        yield make.row("regret", float(report.regret[nearest]), x=rate)
