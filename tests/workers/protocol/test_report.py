from __future__ import annotations

import json

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, cached, top_probability
from workers.protocol.bootstrap import Resamples
from workers.protocol.choices import freeze
from workers.protocol.envelope import StaticEnvelope, StaticNet
from workers.protocol.report import Comparison, judge
from workers.protocol.sealed import SealedTest

CLASSES = tuple("abcd")
TEST = cached(500, seed=1)
RESAMPLES = Resamples.draw(500, rng=np.random.default_rng(0), count=50)
FULL = Comparison(
    classes=CLASSES,
    reference_correct=TEST.escalated_correct,
    envelope=StaticEnvelope(
        [
            StaticNet(name="little", cost=COSTS.little, correct=TEST.little_correct),
            StaticNet(name="big", cost=COSTS.big, correct=TEST.escalated_correct),
        ]
    ),
    third_logits=cached(500, seed=1).escalated_logits + np.random.default_rng(2).normal(size=(500, 4)),
    cost_interval=(COSTS.little, COSTS.big),
)


def judged(comparison=FULL, resamples=RESAMPLES):
    calibration = cached(500, seed=0)
    choices = freeze(
        "ours", calibration=calibration.outcomes(top_probability(calibration)), costs=COSTS, router="msp", budgets=(40,)
    )
    return judge(
        choices, SealedTest(lambda system: TEST), scorer=top_probability, comparison=comparison, resamples=resamples
    )


@pytest.fixture(scope="module")
def report():
    return judged()


def test_a_report_is_json_with_every_measure(report):
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert {row["choice"]["drop_points"] for row in values["savings"]} == {0.0, 0.2, 0.5, 1.0}
    assert [row["choice"]["budget"] for row in values["gains"]] == [40]
    assert len(values["behaviour"]) == 4
    assert [row["group"] for row in values["behaviour"][0]["by_class"]["rows"]] == list(CLASSES)
    assert len(values["behaviour"][0]["by_difficulty"]["rows"]) == 5


def test_its_figures_agree_with_each_other(report):
    assert (report.regret >= -1e-12).all()
    assert report.normalised_cost_area == pytest.approx(report.normalised_area.estimate)
    assert report.sweep.accuracy[0] == pytest.approx(report.oracle.little_accuracy)
    assert report.sweep.accuracy[-1] == pytest.approx(report.oracle.big_accuracy)
    assert report.quality.benefit_share == pytest.approx(report.oracle.p01)


def test_looser_drops_save_at_least_as_much(report):
    savings = [row.saving.estimate for row in report.savings]
    assert savings == sorted(savings)


def test_without_references_their_measures_are_unknown():
    report = judged(Comparison(classes=CLASSES))
    assert (report.gains, report.absolute_area) == ((), None)
    assert all(row.by_difficulty is None for row in report.behaviour)


def test_resamples_of_other_images_are_refused():
    with pytest.raises(InvalidRequestError, match="pair systems on the same images"):
        judged(resamples=Resamples.draw(10, rng=np.random.default_rng(0), count=5))
