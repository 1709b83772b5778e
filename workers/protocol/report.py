"""Judging one system: frozen choices in, test outputs opened once, every measure of the protocol out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.protocol.answers import Answers
from workers.protocol.area import absolute_area, normalised_area_interval, normalised_cost_area
from workers.protocol.bootstrap import Interval, Resamples
from workers.protocol.choices import FrozenChoices
from workers.protocol.envelope import StaticEnvelope
from workers.protocol.groups import GroupTable, WorstGroup, cross_entropy, difficulty_groups, group_table, worst_group
from workers.protocol.oracle import Oracle
from workers.protocol.outcomes import CachedOutputs, Floats, Mask
from workers.protocol.quality import RouterQuality, expected_calibration_error
from workers.protocol.record import Record
from workers.protocol.saving import IsoCostGain, IsoSaving, iso_cost_gain, iso_saving
from workers.protocol.sealed import SealedTest
from workers.protocol.sweep import AppliedSweep
from workers.protocol.thinking import Thinking

Scorer = Callable[[CachedOutputs], NDArray[np.floating]]
DIFFICULTIES = ("easiest", "easy", "middle", "hard", "hardest")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What systems are compared with on the same test images; None where there is none.

    Attributes:
        classes: Their names.
        reference_correct: (N,) whether the static big is right.
        envelope: Of the static nets.
        third_logits: (N, classes) of a model that is neither little nor big, whose loss is the difficulty.
        cost_interval: From the least cost of any system compared to the largest.
    """

    classes: tuple[str, ...]
    reference_correct: Mask | None = None
    envelope: StaticEnvelope | None = None
    third_logits: NDArray[np.floating] | None = None
    cost_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoBehaviour(Record):
    """How the system behaves on test at one iso-accuracy threshold."""

    drop_points: float
    thinking: Thinking
    by_class: GroupTable
    worst_class: WorstGroup
    by_difficulty: GroupTable | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemReport(Record):
    """Every measure of one system on test.

    Attributes:
        choices: Frozen on calibration.
        sweep: The primary curve.
        oracle: p01, p10 and the little's accuracy.
        regret: (K,) below the oracle at the sweep's realised rates.
        savings: S(d).
        gains: G(b); empty without an envelope.
        normalised_area: nAUC over the rate; None if all routers are equal.
        normalised_cost_area: The same over the expected cost.
        absolute_area: Mean accuracy over the common cost interval; None without one.
        quality: Of the router's ranking.
        ece: Of the little before and after temperature scaling.
        behaviour: At each iso-accuracy threshold that exists.
    """

    choices: FrozenChoices
    sweep: AppliedSweep
    oracle: Oracle
    regret: Floats
    savings: tuple[IsoSaving, ...]
    gains: tuple[IsoCostGain, ...]
    normalised_area: Interval | None
    normalised_cost_area: float | None
    absolute_area: float | None
    quality: RouterQuality
    ece: tuple[float, float]
    behaviour: tuple[IsoBehaviour, ...]


def judge(
    choices: FrozenChoices,
    sealed: SealedTest[CachedOutputs],
    *,
    scorer: Scorer,
    comparison: Comparison,
    resamples: Resamples,
) -> SystemReport:
    """Return the report of a system, opening its test outputs.

    Args:
        choices: Frozen on calibration.
        sealed: Hands out the system's test outputs, once.
        scorer: The scores that the choices were made with, (N,) from the cached outputs.
        comparison: References on the same test images.
        resamples: Of these images, the same for all systems compared.

    Raises:
        ConflictError: the system was opened before.
        InvalidRequestError: references or resamples of another number of images.
    """
    outputs = sealed.open(choices)
    test, costs = outputs.outcomes(scorer(outputs)), choices.costs
    sweep, oracle = choices.sweep.apply(test, costs=costs), Oracle.of(test)
    reference, envelope = comparison.reference_correct, comparison.envelope
    interval = comparison.cost_interval
    return SystemReport(
        choices=choices,
        sweep=sweep,
        oracle=oracle,
        regret=oracle.regret(sweep.rate, sweep.accuracy),
        savings=tuple(
            iso_saving(choice, test, costs=costs, resamples=resamples, reference_correct=reference)
            for choice in choices.iso
        ),
        gains=()
        if envelope is None
        else tuple(
            iso_cost_gain(choice, test, costs=costs, envelope=envelope, resamples=resamples)
            for choice in choices.budgets
        ),
        normalised_area=normalised_area_interval(test, resamples),
        normalised_cost_area=normalised_cost_area(test, costs=costs),
        absolute_area=None
        if interval is None
        else absolute_area(sweep.cost, sweep.accuracy, interval=interval, floor=1 / len(comparison.classes)),
        quality=RouterQuality.of(test),
        ece=_calibration(outputs, choices.temperature),
        behaviour=tuple(
            behaviour_of(
                choice.drop_points,
                Answers.of_pair(test, choice.threshold, costs=costs),
                outputs.labels,
                comparison,
                resamples,
            )
            for choice in choices.iso
            if choice.threshold is not None
        ),
    )


def _calibration(outputs: CachedOutputs, temperature: float) -> tuple[float, float]:
    before, after = (
        expected_calibration_error(outputs.little_logits, outputs.labels, temperature=value)
        for value in (1.0, temperature)
    )
    return before, after


def behaviour_of(
    drop_points: float, answers: Answers, labels: NDArray[np.integer], against: Comparison, resamples: Resamples
) -> IsoBehaviour:
    """Return how a system behaves on test where it was allowed to lose `drop_points` on calibration."""
    third, reference = against.third_logits, against.reference_correct
    by_difficulty = None
    if third is not None:
        quintiles = difficulty_groups(cross_entropy(third, labels))
        by_difficulty = group_table(answers, groups=quintiles, names=DIFFICULTIES, reference_correct=reference)
    return IsoBehaviour(
        drop_points=drop_points,
        thinking=Thinking.of(answers),
        by_class=group_table(answers, groups=labels, names=against.classes, reference_correct=reference),
        worst_class=worst_group(
            answers, groups=labels, names=against.classes, resamples=resamples, reference_correct=reference
        ),
        by_difficulty=by_difficulty,
    )
