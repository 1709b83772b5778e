"""A tuning in the report and on the command line: trials, curves, the best, and what the figures do not say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.commands.jobs import tuning_facts
from nas_service.report.data import ReportData
from nas_service.report.tables import provenance_table
from nas_service.report.tuning import tuning_plot, tuning_table
from nas_service.report.write import render
from nas_service.tuning import Tuning
from tests.nas_service.report.synthetic import report_data

TRIALS = {1: (0.3, (0.5,), "stopped"), 2: (0.1, (0.6, 0.7, 0.9), "finished"), 3: (0.2, (0.55, 0.65, 0.8), "finished")}


@pytest.fixture
def tuning() -> Tuning:
    found = Tuning()
    for number, (rate, values, status) in TRIALS.items():
        found = found.after("trial", {"trial": number, "parameters": {"learning_rate": rate, "batch_size": 64}})
        for epoch, value in enumerate(values, start=1):
            found = found.after("rung", {"trial": number, "reached": epoch, "value": value})
        found = found.after("trial_over", {"trial": number, "status": status})
    found = found.after("trial", {"trial": 4, "parameters": {"learning_rate": 0.9, "batch_size": 64}})
    return found.after("trial_over", {"trial": 4, "status": "failed", "error": "the loss went to NaN"})


@pytest.fixture
def data(tuning) -> ReportData:
    return ReportData(job_id="t-1", name="tuning", kind="tune", state="finished", spec={"kind": "tune"}, tuning=tuning)


def test_trials_are_listed_best_first_with_their_hyperparameters(tuning):
    table = tuning_table(tuning)
    assert table.columns == ("trial", "ended", "learning_rate", "batch_size", "epochs", "metric, %")
    assert [row[0] for row in table.rows] == ["2", "3", "1", "4"]
    assert table.rows[0] == ("2", "finished", "0.1", "64", "3", "90.00")


def test_the_curves_end_where_trials_ended_and_the_best_is_drawn_last(tuning):
    plot = tuning_plot(tuning)
    assert [(number, len(points)) for number, _, points in plot.curves] == [(1, 1), (3, 3), (2, 3)]
    assert plot.best == 2


def test_the_report_of_a_tuning_has_trials_curves_and_its_own_notes(data):
    files = render(data)
    markdown = files["report.md"].decode()
    assert "![Trials](trials.png)" in markdown
    assert "**best, trial 2**: 90.00 % (learning_rate 0.1, batch_size 64)" in markdown
    assert "1 trial failed: the loss went to NaN." in markdown
    assert "Nothing was measured on a board" not in markdown


def test_a_search_says_which_job_tuned_its_hyperparameters():
    data = replace(report_data(), spec={"supernet": {"epochs": 3, "tuned": "t-1"}})
    assert ("hyperparameters", "tuned by job t-1") in provenance_table(data).rows


def test_nas_show_tells_the_best_trial(tuning):
    facts = dict(tuning_facts(tuning))
    assert facts["trials"] == "2 finished, 1 stopped, 1 failed"
    assert facts["best"] == "trial 2, 90.00 % after 3 epochs"
    assert facts["with"] == "learning_rate 0.1, batch_size 64"
