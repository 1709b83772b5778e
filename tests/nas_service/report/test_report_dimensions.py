from __future__ import annotations

import json

import pytest

from nas_service.report.collect import trajectory_from
from nas_service.report.data import ReportData
from nas_service.report.dimensions import COLUMNS, dimensions_figure, dimensions_plot
from nas_service.report.write import render
from nas_service.server_events import JobEvent
from nas_service.trajectory import Evolving, Trajectory, TrajectoryStep

CHOICES = {"little0_width": (8, 16), "big0_width": (24, 32), "big0_depth": (1, 2), "big0_kind": ("separable", "fused")}


def step(epoch: int, share: float, *, target: float | None = 2e5) -> TrajectoryStep:
    probabilities = {name: (share, 1 - share) for name in CHOICES}
    cost = None if epoch == 0 else 3e5 - 1e5 * share
    one = Evolving(
        probabilities=probabilities, expected_cost=cost, target_cost=target, multiplier=target and 0.1 * epoch
    )
    return TrajectoryStep(epoch=epoch, phase="joint", evolving={"stem@0.3": one, "nested@0.3": one})


TRAJECTORY = Trajectory(choices=CHOICES, steps=tuple(step(e, 0.5 + 0.1 * e) for e in range(4)))


def test_events_tell_the_trajectory_and_a_repeated_epoch_counts_as_told_last():
    told = [step(1, 0.1), step(2, 0.2), step(1, 0.6)]
    events = [
        JobEvent(id=i, kind="epoch", data={"epoch": s.epoch, "dimensions": {"choices": CHOICES, "step": s.to_dict()}})
        for i, s in enumerate(told)
    ]
    assert trajectory_from([JobEvent(id=9, kind="data"), *events]) == Trajectory(choices=CHOICES, steps=(step(1, 0.6),))


def test_each_search_has_a_row_of_widths_depths_cost_and_multiplier():
    plot = dimensions_plot(TRAJECTORY)
    assert plot is not None
    assert plot.rows == ("stem@0.3", "nested@0.3")
    lines = {column: [line.name for line in plot.panels["stem@0.3", column]] for column in COLUMNS}
    assert list(lines.values()) == [["little0", "big0"], ["big0"], ["expected", "target"], ["multiplier"]]
    assert plot.panels["stem@0.3", "width"][0].rows[0] == (0, 12.0)
    assert [epoch for epoch, _ in plot.panels["stem@0.3", COLUMNS[2]][0].rows] == [1, 2, 3]


def test_milliseconds_are_drawn_as_they_are_and_macs_in_millions():
    one = Evolving(probabilities={"big0_width": (0.5, 0.5)}, expected_cost=3.0, target_cost=2.0, unit="ms on rpi5")
    step = TrajectoryStep(epoch=1, phase="joint", evolving={"stem@2": one})
    plot = dimensions_plot(Trajectory(choices={"big0_width": (24, 32)}, steps=(step,)))
    assert plot is not None
    assert plot.panels["stem@2", "cost"][0].rows == ((1, 3.0),)
    titles = [note["text"] for note in dimensions_figure(plot)["layout"]["annotations"]]
    assert "stem@2: expected ms on rpi5" in titles
    plain = dimensions_plot(TRAJECTORY)
    assert plain is not None
    assert plain.panels["stem@0.3", "cost"][1].rows[0] == (0, pytest.approx(0.2))


def test_the_panels_do_not_overlap():
    plot = dimensions_plot(TRAJECTORY)
    assert plot is not None
    layout = dimensions_figure(plot)["layout"]
    domains = [(layout[f"xaxis{n}"]["domain"], layout[f"yaxis{n}"]["domain"]) for n in ("", *range(2, 9))]
    assert all(0 <= low < high <= 1 for pair in domains for low, high in pair)
    for i, (x, y) in enumerate(domains):
        for other_x, other_y in domains[i + 1 :]:
            assert x[1] <= other_x[0] or other_x[1] <= x[0] or y[1] <= other_y[0] or other_y[1] <= y[0]


def test_a_report_shows_how_the_dimensions_evolved():
    bare = ReportData(job_id="a-aaaaaa", name="a", kind="search", state="finished", spec={}, trajectory=TRAJECTORY)
    files = render(bare)
    assert files["dimensions.png"].startswith(b"\x89PNG")
    assert "How the dimensions evolved" in files["report.md"].decode()
    assert (
        json.dumps(dimensions_figure(dimensions_plot(TRAJECTORY))["layout"]["height"]) in files["report.html"].decode()
    )


def test_a_population_without_a_target_is_drawn_without_one():
    trajectory = Trajectory(choices=CHOICES, steps=(step(0, 0.5, target=None), step(1, 0.6, target=None)))
    plot = dimensions_plot(trajectory)
    assert plot is not None
    assert [line.name for line in plot.panels["stem@0.3", COLUMNS[2]]] == ["expected"]
    assert plot.panels["stem@0.3", COLUMNS[3]] == ()
    assert dimensions_figure(plot)["data"]


def test_without_a_trajectory_there_is_no_plot():
    assert dimensions_plot(None) is None
    assert dimensions_plot(Trajectory(choices=CHOICES)) is None
