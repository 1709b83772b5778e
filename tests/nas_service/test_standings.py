"""Hypervolume, ranks and fronts of a comparison, with answers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from nas_service.comparison import CHARGE, COMPARED, TRAINED, Charge, Comparison, Run, charge_data
from nas_service.report.comparison import (
    budget_plots,
    comparison_csv,
    comparison_notes,
    found_table,
    milestones_table,
    ranks_table,
    spent_table,
)
from nas_service.report.data import ReportData
from nas_service.report.write import render
from nas_service.standings import Standings, final_text, standing_row

# In the box from (0, 0) to (11, 11), which the front (0, 10), (5, 5), (10, 0) has: its nadir and a tenth of its span.
POINTS = {"a": ((0.0, 10.0),), "b": ((5.0, 5.0),), "c": ((10.0, 0.0),), "d": ((10.5, 10.5),), "e": ()}


def charged(index: int, strategy: str, seed: int, ids: str, **spent: Any) -> list[dict[str, Any]]:
    run = Run(index=index, strategy=strategy, seed=seed)
    return [charge_data(run, Charge(candidate_id=key, **spent), POINTS[key]) for key in ids]


def folded(*runs: list[dict[str, Any]]) -> Comparison:
    found = Comparison()
    for data in [entry for run in runs for entry in run]:
        found = found.after(CHARGE, data)
    return found


def standings_of(*runs: list[dict[str, Any]]) -> Standings:
    return Standings(folded(*runs), objectives=("error", "macs"))


@pytest.fixture
def two() -> Standings:
    """`x` finds more with each seed; both are charged one second and half a board second for everything."""
    spent = {"seconds": 1.0, "board_s": 0.5}
    return standings_of(
        charged(0, "x", 0, "bac", **spent),
        charged(1, "y", 0, "dea", **spent),
        charged(2, "x", 1, "bdc", **spent),
        charged(3, "y", 1, "deb", **spent),
    )


def test_the_box_is_that_of_the_union_of_all_archives(two):
    assert two.box.ideal == (0.0, 0.0)
    assert two.box.reference == (11.0, 11.0)


def test_hypervolume_is_a_share_of_the_box_and_never_falls(two):
    assert two.volumes[0] * 121 == pytest.approx([36, 36 + 5, 36 + 5 + 5])
    assert two.volumes[1] * 121 == pytest.approx([0.25, 0.25, 11])


def test_candidates_without_points_count_against_the_budget(two):
    assert two.spent(two.comparison.runs[1], "evaluations").tolist() == [1, 2, 3]
    assert two.spent(two.comparison.runs[1], "seconds").tolist() == [1, 2, 3]


def test_a_charge_that_is_told_twice_counts_once():
    once = charged(0, "x", 0, "ab")
    assert folded(once, once) == folded(once)


def test_curves_are_means_over_seeds_with_their_interval(two):
    at, interval = two.curve("x", "evaluations")[1]
    assert at == 2
    assert 121 * interval.mean == pytest.approx((41 + 36) / 2)
    assert (121 * interval.low, 121 * interval.high) == pytest.approx((36, 41))


def test_nothing_is_found_before_the_first_evaluation_is_paid_and_time_begins_with_training(two):
    comparison = two.comparison
    for index, name in ((0, "x"), (2, "x")):
        data = {"entrant": index, "strategy": name, "seed": index // 2, "epochs": 2, "seconds": 10.0, "evaluations": 7}
        comparison = comparison.after(TRAINED, data)
    trained = Standings(comparison, objectives=("error", "macs"))
    curve = trained.curve("x", "seconds")
    assert curve[-1][0] == 13.0
    assert [interval.mean for at, interval in curve if at < 11] == [0.0] * sum(at < 11 for at, _ in curve)
    assert "7.0" in spent_table(trained).rows[0]


def test_ranks_are_by_seed_and_the_best_comes_first(two):
    assert [(s.strategy, s.rank) for s in two.standings] == [("x", 1.0), ("y", 2.0)]
    assert two.seeds == 2
    assert two.friedman is None


def test_strategies_that_find_the_same_share_their_rank():
    same = standings_of(charged(0, "x", 0, "ab"), charged(1, "y", 0, "ba"))
    assert [s.rank for s in same.standings] == [1.5, 1.5]


def test_the_front_of_all_says_how_much_of_it_each_strategy_found(two):
    assert {p.candidate_id for p in two.joint_front.points} == {"a", "b", "c"}
    assert {s.strategy: s.on_joint_front for s in two.standings} == {"x": 3, "y": 2}
    rows = found_table(two).rows
    assert [(row[0], row[1], row[2]) for row in rows if row[0] == "y"] == [("y", "a", "yes"), ("y", "b", "yes")]


def test_while_runs_are_of_different_lengths_they_are_judged_at_the_shortest():
    half = standings_of(charged(0, "x", 0, "abc"), charged(1, "y", 0, "a"))
    assert half.common == 1
    assert [s.final.mean for s in half.standings] == [half.volumes[1][0]] * 2


@pytest.fixture
def ended() -> Standings:
    """`x` ended after one evaluation, which `y` is behind then and ahead of at its full budget of four."""
    comparison = folded(
        charged(0, "x", 0, "b", seconds=1.0),
        charged(1, "y", 0, "dabc", seconds=2.0),
    )
    for index, name, seconds in ((0, "x", 20.0), (1, "y", 3.0)):
        data = {"entrant": index, "strategy": name, "seed": 0, "epochs": 2, "seconds": seconds, "evaluations": 0}
        comparison = comparison.after(TRAINED, data)
    return Standings(comparison.after(COMPARED, {}), objectives=("error", "macs"))


def test_who_ends_early_is_judged_at_the_full_budget_by_what_it_had(ended):
    assert (ended.common, ended.judged) == (1, 4)
    assert {s.strategy: (s.rank, s.final.mean * 121) for s in ended.standings} == {
        "x": (2.0, pytest.approx(36)),
        "y": (1.0, pytest.approx(46)),
    }
    assert standing_row(ended.standings[1])[:3] == ["x", "2.00", "1"]
    assert final_text(ended) == "hypervolume after 4 evaluations: y 38.0 %, x 29.8 % (ended after 1)"


def test_strategies_are_ranked_at_several_budgets_and_at_equal_cost(ended):
    ranked = {(m.budget, m.at): m.ranks for m in ended.milestones}
    assert ranked == {
        ("evaluations", 1.0): {"x": 1.0, "y": 2.0},
        ("evaluations", 2.0): {"x": 1.0, "y": 2.0},
        ("evaluations", 4.0): {"x": 2.0, "y": 1.0},
        ("seconds", 11.0): {"x": 2.0, "y": 1.0},
    }
    assert milestones_table(ended).columns == ("strategy", "after 1", "after 2", "after 4", "at 11 s in all")


def test_a_line_of_who_ended_early_goes_on_flat_and_is_marked(ended):
    (plot, seconds) = budget_plots(ended)
    searched, flat = plot.legs("x")
    assert [p[0] for p in searched] == [1]
    assert [p[:2] for p in flat] == [(at, pytest.approx(100 * 36 / 121)) for at in (1, 2, 3, 4)]
    assert (plot.legend("x"), plot.legend("y")) == ("x, ended after 1", "y")
    assert plot.legs("y")[1] == ()
    assert seconds.curves["x"][-1][0] == 21.0
    assert seconds.curves["y"][-1][0] == 11.0


def test_what_a_strategy_spent_in_all_holds_its_training(ended):
    rows = {row[0]: row for row in spent_table(ended).rows}
    assert (rows["x"][-2], rows["y"][-2]) == ("21.0", "11.0")


def test_supernets_that_only_one_strategy_used_are_counted():
    comparison = folded(charged(0, "gradient", 0, "b"), charged(1, "gradient", 1, "b"), charged(2, "tpe", 0, "b"))
    for index, name, seed in ((0, "gradient", 0), (1, "gradient", 1), (2, "tpe", 0)):
        data = {"entrant": index, "strategy": name, "seed": seed, "epochs": 2, "seconds": 5.0, "evaluations": 0}
        comparison = comparison.after(TRAINED, data)
    table = spent_table(Standings(comparison, objectives=("error", "macs")))
    assert {row[0]: row[-1] for row in table.rows} == {"gradient": "2", "tpe": "0"}


def test_as_long_as_a_strategy_lacks_a_seed_there_are_no_ranks():
    early = standings_of(charged(0, "x", 0, "a"), charged(1, "y", 0, "b"), charged(2, "x", 1, "b"))
    assert [s.rank for s in early.standings] == [None, None]
    assert "Ranks follow when every strategy has every seed" in ranks_table(early).note


def test_a_comparison_without_any_evaluation_has_nothing_to_show():
    empty = standings_of()
    assert (empty.box, empty.standings, ranks_table(empty), budget_plots(empty)) == (None, (), None, ())


def test_with_six_seeds_pairs_are_tested_and_with_two_the_report_says_why_not(two):
    many = standings_of(
        *(charged(2 * seed, "x", seed, "bac") for seed in range(6)),
        *(charged(2 * seed + 1, "y", seed, "da") for seed in range(6)),
    )
    assert {s.strategy: s.p_to_best for s in many.standings} == {"x": None, "y": pytest.approx(0.03125)}
    assert "No test: 2 of the 5 seeds that Friedman's needs" in ranks_table(two).note
    assert any("2 seeds say little" in note for note in comparison_notes(two))


def test_each_charge_is_a_row_of_the_csv(two):
    lines = comparison_csv(two).splitlines()
    assert lines[0] == "strategy,seed,evaluations,candidate,known,seconds,board_s,hypervolume"
    assert lines[1] == f"x,0,1,b,0,1,0.5,{36 / 121:.8g}"
    assert len(lines) == 13


def test_the_report_has_a_plot_for_each_budget_the_tables_and_the_csv(two):
    data = ReportData(
        job_id="c-1", name="compared", kind="compare", state="finished", spec={"kind": "compare"},
        objectives=("error", "macs"), comparison=two.comparison,
    )  # fmt: skip
    files = render(data)
    markdown = files["report.md"].decode()
    plots = {"hypervolume-evaluations.png", "hypervolume-seconds.png", "hypervolume-board-s.png"}
    assert set(files) == {"report.html", "report.md", "comparison.csv"} | plots
    assert "**ahead**: x (mean rank 1.00 of 2" in markdown
    assert "fixed from the union of all archives" in markdown
    assert files == render(data)
