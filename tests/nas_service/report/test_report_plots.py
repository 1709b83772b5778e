from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from nas_service.report.data import ReportCurve
from nas_service.report.look import log_ticks
from nas_service.report.plots import CURVE_POINTS, FRONT_POINTS, front_plots, half_costs, progress_plots, training_plot
from tests.nas_service.report.synthetic import CLASS, report_data


def test_there_is_a_front_for_macs_and_one_for_every_measured_class():
    assert [plot.name for plot in front_plots(report_data())] == ["macs", f"latency-{CLASS}"]


def test_no_curve_has_a_point_that_beats_the_front():
    plot = front_plots(report_data())[0]
    for point in (p for curve in plot.curves for p in curve.points):
        cheaper = [f.accuracy for f in plot.front if f.cost <= point.cost]
        assert not cheaper or max(cheaper) >= point.accuracy or len(plot.front) == FRONT_POINTS


def test_the_front_rises_with_cost_and_mixes_routes():
    front = front_plots(report_data())[0].front
    assert (np.diff([p.cost for p in front]) > 0).all()
    assert (np.diff([p.accuracy for p in front]) > 0).all()
    assert any(p.mixes for p in front)


def test_a_curve_keeps_its_static_ends_when_it_is_thinned():
    curve = ReportCurve(
        thresholds=("never", *np.linspace(0.1, 0.9, 4998).tolist(), "always"),
        accuracy=tuple(np.linspace(0.9, 0.95, 5000).tolist()),
        escalation_rate=tuple(np.linspace(0, 1, 5000).tolist()),
    )
    data = report_data()
    drawn = front_plots(replace(data, candidates=(replace(data.candidates[0], curve=curve),)))[0].curves[0]
    assert len(drawn.points) <= CURVE_POINTS + 2
    assert (drawn.points[0].threshold, drawn.points[-1].threshold) == ("never", "always")


def test_expected_latency_is_the_littles_plus_the_share_of_the_bigs():
    data = report_data()
    candidate = data.candidates[0]
    little, big = half_costs(data, candidate, CLASS) or (0.0, 0.0)
    point = front_plots(data)[1].curves[0].points[-1]
    assert little == pytest.approx(0.05 + candidate.costs["little_macs"] / 4e6)
    assert point.cost == pytest.approx(little + big)


def test_a_candidate_without_a_complete_measurement_is_absent_from_the_latency_plot():
    macs, latency = front_plots(report_data())
    assert {c.number for c in macs.curves} - {c.number for c in latency.curves} == {9, 18, 27}


def test_hypervolume_never_falls_and_marks_where_each_strategy_began():
    plot = progress_plots(report_data())[0]
    assert plot.spent == tuple(range(1, 30))
    assert (np.diff(plot.hypervolume) >= -1e-12).all()
    assert 0 < plot.hypervolume[-1] <= 1
    assert plot.strategies == ((0, "random"), (14, "nsga2"))
    assert plot.stretches == ((0.5, 14.5, "random"), (14.5, 29.5, "nsga2"))


def test_progress_is_against_evaluations_wall_time_and_board_seconds():
    data = report_data()
    timed = tuple(replace(m, board_s=2.0, received_at=data.created_at + 1) for m in data.measurements)
    plots = {plot.budget: plot for plot in progress_plots(replace(data, measurements=timed))}
    assert list(plots) == ["evaluations", "wall_s", "board_s"]
    assert plots["wall_s"].spent[:3] == (0.0, 4.0, 8.0)
    assert plots["board_s"].spent[-1] == 2.0 * len(timed)
    assert plots["board_s"].spent[8] == plots["board_s"].spent[7]  # the ninth was not measured
    assert len({plot.hypervolume for plot in plots.values()}) == 1


def test_a_failed_candidate_spends_its_evaluation_where_it_ended():
    data = report_data()
    failed = replace(data.candidates[-1], finished_at=data.candidates[2].finished_at + 1)
    plot = progress_plots(replace(data, candidates=(*data.candidates[:-1], failed)))[0]
    assert plot.hypervolume[3] == plot.hypervolume[2]
    assert plot.strategies[:3] == ((0, "random"), (3, "nsga2"), (4, "random"))


def test_what_boards_had_measured_before_the_job_costs_it_nothing():
    data = report_data()
    old = tuple(replace(m, board_s=2.0, received_at=data.created_at - 1) for m in data.measurements)
    assert [plot.budget for plot in progress_plots(replace(data, measurements=old))] == ["evaluations", "wall_s"]


def test_training_figures_are_split_into_losses_and_the_rest():
    plot = training_plot(report_data())
    assert plot is not None
    assert (list(plot.losses), sorted(plot.others)) == (["train_loss"], ["big_accuracy", "little_accuracy"])


def test_a_job_that_found_nothing_has_no_plots():
    empty = replace(report_data(), candidates=(), measurements=(), training=(), front=())
    assert (front_plots(empty), progress_plots(empty), training_plot(empty)) == ((), (), None)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InvalidRequestError, match=r"lengths \[1, 2\] but must have one, above 0"):
        ReportCurve(thresholds=("never", "always"), accuracy=(0.5,), escalation_rate=(0.0,))


def test_ticks_of_a_logarithmic_axis_are_round():
    assert log_ticks(0.04, 3.0) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
