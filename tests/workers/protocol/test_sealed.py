from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import ConflictError, InvalidRequestError
from tests.workers.protocol.systems import COSTS, cached, latent, top_probability
from workers.protocol.bootstrap import Resamples
from workers.protocol.choices import freeze
from workers.protocol.report import Comparison, judge
from workers.protocol.sealed import Opening, SealedTest
from workers.routing.class_thresholds import fit_class_thresholds
from workers.routing.temperature import fit_temperature

CLASSES = tuple("abcd")


def choices(system="ours", *, seed=0):
    return freeze(system, calibration=latent(200, seed=seed), costs=COSTS, router="msp")


def complete_run(test_outputs):
    """Fit, choose and judge one system as a bench does; returns choices, events in order, and the report."""
    events = []
    calibration = cached(400, seed=0)

    def run_on_test(system):
        events.append("test run")
        return test_outputs

    temperature = fit_temperature(calibration.little_logits, calibration.labels)
    found = fit_class_thresholds(
        top_probability(calibration),
        predicted=calibration.predicted,
        little_correct=calibration.little_correct,
        escalated_correct=calibration.escalated_correct,
        classes=4,
        rate=0.3,
    )
    events.append("fitted")
    frozen = freeze(
        "ours",
        calibration=calibration.outcomes(top_probability(calibration)),
        costs=COSTS,
        router="msp",
        budgets=(20, 50),
        temperature=temperature.value,
        class_thresholds=found.thresholds,
    )
    events.append("frozen")
    sealed = SealedTest(run_on_test, record=lambda opening: events.append(f"opened {opening.system}"))
    resamples = Resamples.draw(len(test_outputs.labels), rng=np.random.default_rng(0), count=20)
    comparison = Comparison(classes=CLASSES)
    report = judge(frozen, sealed, scorer=top_probability, comparison=comparison, resamples=resamples)
    return frozen, events, report


def test_test_outputs_are_made_only_after_everything_is_fitted_and_frozen():
    _, events, _ = complete_run(cached(300, seed=1))
    assert events == ["fitted", "frozen", "opened ours", "test run"]


def test_no_threshold_temperature_or_choice_depends_on_the_test_split():
    frozen, _, report = complete_run(cached(300, seed=1))
    others, _, other_report = complete_run(cached(300, seed=2))
    assert frozen.sha256 == others.sha256
    assert report.choices.to_dict() == other_report.choices.to_dict()
    assert not np.array_equal(report.sweep.accuracy, other_report.sweep.accuracy)  # and the test split was looked at


def test_another_calibration_split_would_have_changed_the_digest():
    assert choices(seed=0).sha256 != choices(seed=1).sha256


def test_each_system_is_opened_once():
    runs = []
    sealed = SealedTest(lambda system: runs.append(system) or system)
    assert [sealed.open(choices(name)) for name in ("ours", "cascade")] == ["ours", "cascade"]
    with pytest.raises(
        ConflictError, match=r"'ours' was opened before.*report the first result, or judge a new system"
    ):
        sealed.open(choices("ours"))
    assert runs == ["ours", "cascade"]


def test_choices_made_after_a_look_at_test_open_nothing():
    sealed = SealedTest(lambda system: pytest.fail("ran"), openings=[Opening(system="ours", choices_sha256="0" * 64)])
    with pytest.raises(ConflictError, match="was opened before, for choices 000000000000"):
        sealed.open(choices())


def test_an_opening_is_recorded_before_the_outputs_exist():
    kept = []
    sealed = SealedTest(lambda system: len(kept), record=kept.append)
    assert sealed.open(choices()) == 1
    assert kept == list(sealed.openings) == [Opening(system="ours", choices_sha256=choices().sha256)]


def test_a_run_that_died_may_be_repeated_with_the_very_same_choices():
    def fails(system):
        raise OSError("power cut")

    first = SealedTest(fails)
    with pytest.raises(OSError, match="power cut"):
        first.open(choices())
    second = SealedTest(lambda system: "outputs", openings=[Opening.from_dict(o.to_dict()) for o in first.openings])
    with pytest.raises(ConflictError):
        second.open(choices(seed=1))
    assert second.open(choices()) == "outputs"


def test_an_opening_of_another_form_is_refused():
    with pytest.raises(InvalidRequestError, match="give system and choices_sha256"):
        Opening.from_dict({"system": "a"})
