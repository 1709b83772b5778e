"""Tuning sessions without Ray: what is trained, what a kill loses, and who learns from whom."""

from __future__ import annotations

import pytest

from nas_service.tuning import Tuning
from tests.nas_service.tune.fakes import CutError
from tests.nas_service.tune.tunings import Median, Memory, drive, session_over, tune_of

METHODS = ("asha", "optuna", pytest.param("nevergrad", marks=pytest.mark.slow), "pbt")  # seconds to import


@pytest.mark.parametrize("method", METHODS)
def test_all_trials_come_to_an_end_and_no_epoch_is_recorded_twice(method):
    memory = Memory()
    session = session_over(memory, tune_of(method))
    drive(session)
    assert session.finished
    assert session.done_epochs == session.total_epochs == 8 * 4
    assert len(set(memory.rungs())) == len(memory.rungs())
    assert session.tuning.best.epoch == 4


def test_halving_spends_fewer_epochs_than_all_trials_would_take():
    session = session_over(Memory(), tune_of(trials=12))
    assert drive(session) < 12 * 4
    assert session.tuning.count("stopped") > 0


@pytest.mark.parametrize("method", ["asha", "pbt"])
@pytest.mark.parametrize("writes", range(1, 40, 6))
def test_killed_after_any_write_it_ends_as_it_would_have(method, writes):
    undisturbed, killed = Memory(), Memory(writes_left=writes)
    drive(session_over(undisturbed, tune_of(method)), workers=1)
    with pytest.raises(CutError):
        drive(session_over(killed, tune_of(method)), workers=1)
    killed.writes_left = None
    drive(session_over(killed, tune_of(method)), workers=1)
    assert killed.rungs() == undisturbed.rungs()
    assert Tuning.of(killed.kept) == Tuning.of(undisturbed.kept)


def test_a_resumed_session_begins_at_the_last_recorded_epoch_of_what_was_left():
    memory = Memory()
    drive(session_over(memory, tune_of(trials=4)), workers=1, epochs=2)
    trained = drive(session_over(memory, tune_of(trials=4)), workers=1)
    assert memory.loaded[0] == (1, 2)
    assert trained + 2 == len(memory.rungs())


def test_a_lost_checkpoint_costs_epochs_but_counts_none_twice():
    memory = Memory()
    drive(session_over(memory, tune_of(trials=2)), workers=1, epochs=2)
    memory.files.clear()
    session = session_over(memory, tune_of(trials=2))
    drive(session, workers=1)
    assert session.finished
    assert len(set(memory.rungs())) == len(memory.rungs())


def test_a_failed_trial_is_recorded_with_its_reason_and_the_others_go_on():
    tune = tune_of(trials=6, parameters={"learning_rate": {"choice": [0.1, 0.95]}, "distillation": {"uniform": [0, 1]}})
    session = session_over(Memory(), tune)
    drive(session)
    failed = [t for t in session.tuning.trials.values() if t.status == "failed"]
    assert {t.error for t in failed} == {"the loss went to NaN; lower learning_rate"}
    assert 0 < len(failed) < 6
    assert session.tuning.best.parameters["learning_rate"] == 0.1


def test_the_worst_quarter_of_a_population_goes_on_from_weights_of_the_best():
    memory = Memory()
    session = session_over(memory, tune_of("pbt", interval=2))
    drive(session, workers=3)
    copies = [e.data for e in memory.kept if e.kind == "trial" and e.data["parent"]]
    assert len(copies) == 2
    at_boundary = {t: next(e.data["value"] for e in memory.kept if e.kind == "rung"
                   and (e.data["trial"], e.data["reached"]) == (t, 2)) for t in range(1, 9)}  # fmt: skip
    ranked = sorted(at_boundary, key=at_boundary.get)
    assert {c["trial"] for c in copies} == set(ranked[:2])
    assert {c["parent"][0] for c in copies} <= set(ranked[-2:])
    assert all(0.01 <= c["parameters"]["learning_rate"] <= 1.0 for c in copies)


def test_a_population_waits_for_its_slowest_member_at_a_boundary():
    session = session_over(Memory(), tune_of("pbt", trials=4, interval=2))
    starts = [session.next() for _ in range(4)]
    assert session.next() is None
    for start in starts[:3]:
        for epoch in (1, 2):
            session.reached(start.leg.trial, _report(epoch))
    assert session.next() is None


def _report(epoch):
    from nas_service.tuning import TrialReport

    return TrialReport(epoch=epoch, accuracies={"largest_big": 0.5}, checkpoint=b"1")


def test_no_checkpoint_stays_but_those_that_may_be_needed():
    memory = Memory()
    session = session_over(memory, tune_of(trials=6), stopper=Median())
    drive(session)
    assert list(memory.files) == [(session.tuning.best.number, 4)]


def test_a_trial_that_was_stopped_early_is_never_the_best():
    tuning = Tuning()
    for number, epochs, value in ((1, 1, 0.99), (2, 4, 0.6)):
        tuning = tuning.after("trial", {"trial": number, "parameters": {}})
        for epoch in range(1, epochs + 1):
            tuning = tuning.after("rung", {"trial": number, "reached": epoch, "value": value})
    assert tuning.best.number == 2
