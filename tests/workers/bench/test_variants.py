from __future__ import annotations

import numpy as np
import pytest

from tests.workers.bench.made import BUDGETS, outputs
from workers.bench.choices import freeze_system, pair_outputs
from workers.bench.scoring import formula_scores
from workers.bench.system import ExitCosts, SystemOutputs
from workers.bench.variants import easy_half, freeze_by_class
from workers.protocol.choices import freeze
from workers.protocol.outcomes import PathCosts

COSTS = PathCosts(little=1e6, tail=2e6, big=3e6)
PAIR = ExitCosts(macs=(1e6, 3e6), params=10)


def two_kinds(n: int, *, seed: int) -> SystemOutputs:
    """Half of the images the little calls class 0, and is right at any score; of the others it errs below a margin."""
    rng = np.random.default_rng(seed)
    called, margin = np.arange(n) % 2, rng.uniform(0, 2, n)
    labels = np.where((called == 1) & (margin < 1), 2, called).astype(np.int64)
    little = np.zeros((n, 3))
    little[np.arange(n), called] = margin
    return SystemOutputs(logits=np.stack([little, 5 * np.eye(3)[labels]]).astype(np.float32), labels=labels)


def frozen(calibration: SystemOutputs, router: str = "margin"):
    pair = pair_outputs(calibration)
    scores = formula_scores(router, pair.little_logits)
    single = freeze("x", calibration=pair.outcomes(scores), costs=COSTS, router=router)
    return single, freeze_by_class(single, pair, scores)


def test_class_thresholds_escalate_only_the_class_that_errs():
    single, by_class = frozen(two_kinds(400, seed=0))
    assert single.iso_at(0.5).calibration_rate == pytest.approx(0.5, abs=0.08)
    assert by_class.iso_at(0.5).calibration_rate == pytest.approx(0.25, abs=0.04)


def test_the_gain_holds_on_images_that_chose_nothing():
    _, by_class = frozen(two_kinds(400, seed=0))
    test = pair_outputs(two_kinds(400, seed=1))
    scores = by_class.shifted(formula_scores("margin", test.little_logits), test.predicted)
    outcomes, threshold = test.outcomes(scores), by_class.iso_at(0.5).threshold
    assert outcomes.correct(threshold).mean() > 0.97
    assert outcomes.escalates(threshold).mean() < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_on_calibration_class_thresholds_keep_the_tolerated_drop_and_escalate_no_more(seed):
    choices = freeze_system(
        "x-s0",
        {
            s: outputs(240, accuracies=(0.7, 0.9), seed=seed + 10 * i)
            for i, s in enumerate(("validation", "calibration"))
        },
        costs=PAIR,
        budgets=BUDGETS,
    )
    single, by_class = (c.iso_at(0.5) for c in (choices.frozen(choices.router), choices.by_class))
    assert by_class.calibration_rate <= single.calibration_rate
    assert by_class.calibration_accuracy >= by_class.reference_accuracy - 0.005
    assert by_class.reference_accuracy == single.reference_accuracy


def test_half_of_the_images_is_easy_and_the_other_half_has_the_larger_losses():
    logits = np.array([[5, 0], [3, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert easy_half(logits, np.zeros(4, dtype=np.int64)).tolist() == [True, True, False, False]


def of_all_and_of_easy(*accuracies: float, costs: ExitCosts):
    held_out = {s: outputs(400, accuracies=accuracies, seed=i) for i, s in enumerate(("validation", "calibration"))}
    choices = freeze_system("x-s0", held_out, costs=costs, budgets=BUDGETS)
    return choices, held_out["calibration"]


def test_thresholds_of_the_easy_half_are_those_of_its_images_alone():
    choices, calibration = of_all_and_of_easy(0.7, 0.9, costs=PAIR)
    easy = easy_half(calibration.logits[-1], calibration.labels)
    assert choices.on_easy.calibration_n == easy.sum() == 200
    assert (
        choices.on_easy.iso_at(0.5).reference_accuracy
        == (calibration.logits[-1].argmax(axis=1) == calibration.labels)[easy].mean()
    )
    assert choices.on_easy.iso_at(0.5).threshold != choices.chosen.iso_at(0.5).threshold


def test_a_net_of_three_exits_has_thresholds_of_the_easy_half_too():
    choices, _ = of_all_and_of_easy(0.6, 0.7, 0.9, costs=ExitCosts(macs=(1e6, 2e6, 3e6), params=10))
    assert choices.on_easy.router == choices.chosen.router
    assert not np.array_equal(choices.on_easy.sweep.thresholds, choices.chosen.sweep.thresholds)
    assert choices.by_class is None
