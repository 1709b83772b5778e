from __future__ import annotations


def test_board_table_submits_a_job_that_measures_a_space(here, live, search):
    outcome = here(
        "board", "table", "local-x86", "--space", "micro", "--dataset", "digits", "--pairs", "7", "--no-wait"
    )
    assert outcome.code == 0, outcome.err
    spec = live.store.jobs.get(outcome.out.strip()).spec
    assert (spec.kind, spec.objectives) == ("measure", ("latency_ms@local-x86",))
    assert spec.measurement.pairs == 7


def test_board_table_refuses_a_class_that_has_no_board(here, search):
    outcome = here("board", "table", "rpi9", "--space", "micro", "--dataset", "digits", "--no-wait")
    assert outcome.code == 1
    assert "rpi9" in outcome.err
