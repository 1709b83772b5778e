from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.choices import FrozenChoices, choose_for_budget, choose_iso, freeze

# Ten inputs in order of score: the little errs on the first two, the big on the last.
TEN = outcomes(range(10), [0, 0] + [1] * 8, [1] * 9 + [0])


@pytest.mark.parametrize(("drop", "escalated"), [(0.0, 1), (10.0, 0), (-10.0, 2)])
def test_the_cheapest_threshold_that_is_accurate_enough_is_taken(drop, escalated):
    choice = choose_iso(TEN.curve, drop, reference_accuracy=0.9)
    assert TEN.escalates(choice.threshold).sum() == escalated
    assert choice.calibration_accuracy >= 0.9 - drop / 100 - 1e-9


def test_a_reference_out_of_reach_leaves_no_threshold():
    choice = choose_iso(latent(100, seed=0).curve, 0.0, reference_accuracy=1.0)
    assert (choice.threshold, choice.calibration_accuracy, choice.calibration_rate) == (None, None, None)


@pytest.mark.parametrize(
    ("budget", "escalated", "accuracy"), [(9.0, None, None), (10.0, 0, 0.8), (19.0, 1, 0.9), (100.0, 2, 1.0)]
)
def test_a_budget_takes_the_most_accurate_affordable_threshold_and_the_cheapest_of_equals(budget, escalated, accuracy):
    choice = choose_for_budget(TEN.curve, budget, costs=COSTS)
    assert choice.calibration_accuracy == (None if accuracy is None else pytest.approx(accuracy))
    if escalated is None:
        assert choice.threshold is None
    else:
        assert TEN.escalates(choice.threshold).sum() == escalated


def test_the_reference_is_the_own_escalation_unless_a_static_big_is_given():
    own = freeze("a", calibration=TEN, costs=COSTS, router="msp")
    static = freeze("a", calibration=TEN, costs=COSTS, router="msp", reference_correct=np.ones(10, dtype=bool))
    assert own.iso[0].reference_accuracy == 0.9
    assert static.iso[0].reference_accuracy == 1.0
    assert static.iso[0].calibration_rate == 0.2


def test_choices_come_back_from_json_with_the_same_digest():
    made = freeze("a", calibration=latent(300, seed=0), costs=COSTS, router="msp", budgets=(5, 30), temperature=1.3)
    again = FrozenChoices.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert again.sha256 == made.sha256
    assert again.budgets == made.budgets
    assert again.sweep.thresholds[0] == -math.inf


def test_any_other_threshold_changes_the_digest():
    one, two = (freeze("a", calibration=latent(300, seed=s), costs=COSTS, router="msp") for s in (0, 1))
    assert one.sha256 != two.sha256


def test_a_reference_on_other_images_is_refused():
    with pytest.raises(InvalidRequestError, match="3 images but calibration 10; use the same split"):
        freeze("a", calibration=TEN, costs=COSTS, router="msp", reference_correct=np.ones(3, dtype=bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"extra": 1}, "frozen choices have keys .*extra.* but need"), ({"version": 9}, "format 9; this code reads 1")],
)
def test_choices_of_another_form_are_refused(change, message):
    values = freeze("a", calibration=TEN, costs=COSTS, router="msp").to_dict()
    with pytest.raises(InvalidRequestError, match=message):
        FrozenChoices.from_dict({**values, **change})
