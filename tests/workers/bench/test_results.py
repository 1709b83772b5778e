from __future__ import annotations

import json

import pytest

from nas_service.errors import ConflictError
from tests.workers.bench.made import BUDGETS, as_of_format_1, finished_cell
from workers.bench.config import BenchConfig
from workers.bench.finished import Field, read_finished
from workers.bench.folder import CellId
from workers.bench.judging import judge_all
from workers.bench.report import write_results
from workers.bench.rows import Row, from_csv, to_csv, x_text
from workers.bench.tables import by_system
from workers.bench.variants import easy_half
from workers.data.dataset import DatasetSpec

SYSTEMS = ("ours", "cascade-kd", "branchy2", "static-little", "static-mid2", "static-big", "missing")
CONFIG = BenchConfig(preset="micro", dataset=DatasetSpec(name="digits"), systems=SYSTEMS, seeds=(0, 1), epochs=3)
CLASSES = tuple("abcd")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    for seed in (0, 1):
        finished_cell(root, "ours", accuracies=(0.75, 0.95), macs=(1e6, 3e6), seed=seed)
        finished_cell(root, "cascade-kd", accuracies=(0.6, 0.85), macs=(1e6, 4e6), seed=seed)
    finished_cell(root, "branchy2", accuracies=(0.6, 0.7, 0.85), macs=(1e6, 2e6, 3e6))
    for name, accuracy, macs in (("little", 0.7, 1e6), ("mid2", 0.75, 2e6), ("big", 0.85, 3e6)):
        finished_cell(root, f"static-{name}", accuracies=(accuracy,), macs=(macs,))
    return root, write_results(root, CONFIG, classes=CLASSES, resamples=100)[0]


def figure(rows, system, measure, *, seed="0", x="", router=None, split="test"):
    fits = [r for r in rows if (r.system, r.measure, r.seed, r.x, r.split) == (system, measure, seed, x, split)]
    [row] = [r for r in fits if router in (None, r.router)][:1]
    return row


def test_the_csv_holds_every_row(bench):
    root, rows = bench
    assert to_csv(from_csv((root / "results.csv").read_text())) == to_csv(rows)


def test_results_are_recomputed_to_the_same_bytes(bench):
    root, _ = bench
    before = [(root / name).read_bytes() for name in ("results.csv", "tables.md")]
    write_results(root, CONFIG, classes=CLASSES, resamples=100)
    assert [(root / name).read_bytes() for name in ("results.csv", "tables.md")] == before


def test_what_is_not_finished_is_named_and_its_cells_are_empty(bench):
    text = (bench[0] / "tables.md").read_text()
    missing = "branchy2 s1, static-little s1, static-mid2 s1, static-big s1, missing s0, missing s1"
    assert f"without figures: {missing}." in text
    accuracy = text.split("## Exits")[0]
    assert "| missing s0 |  |  |" in accuracy


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_point_counts_for_a_budget_only_within_a_hundredth_of_it(bench, budget):
    rows = bench[1]
    for row in (r for r in rows if r.measure == "macs_at_budget" and r.x == x_text(budget)):
        [accuracy] = [
            r
            for r in rows
            if r.measure == "accuracy_at_budget"
            and (r.system, r.seed, r.router, r.x) == (row.system, row.seed, row.router, row.x)
        ]
        assert (accuracy.value is not None) == (row.value is not None and row.value <= 1.01 * budget)


def test_the_oracle_is_one_and_the_random_router_nought_within_its_interval(bench):
    row = figure(bench[1], "ours", "nauc", router="random")
    assert row.ci_low < 0 < row.ci_high
    assert figure(bench[1], "ours", "nauc", router="msp").value > row.ci_high


def test_who_is_handed_the_bigs_answer_ranks_better_than_any_router_and_worse_than_the_oracle(bench):
    rows = [r for r in bench[1] if (r.system, r.seed, r.measure, r.split) == ("ours", "0", "nauc", "test")]
    areas = {r.router: r.value for r in rows}
    assert areas["informed"] == max(areas.values())
    assert areas["informed"] < 1


def test_a_better_system_has_more_hypervolume_in_every_seed_and_pooled(bench):
    rows = bench[1]
    for seed in ("0", "1", "all"):
        assert figure(rows, "ours - cascade-kd", "hypervolume_difference", seed=seed).ci_low > 0
    assert figure(rows, "ours - cascade-kd", "same_sign", seed="all", x="2").value == 1
    assert figure(rows, "ours - cascade-kd", "cost_at_equal_accuracy").value < 0


def test_the_gain_is_the_accuracy_above_the_static_envelope(bench):
    rows, x = bench[1], x_text(BUDGETS[1])
    chosen = figure(rows, "ours", "gain_points", x=x).router
    accuracy, static, gain = (
        figure(rows, "ours", m, x=x, router=chosen) for m in ("accuracy_at_budget", "static_accuracy", "gain_points")
    )
    assert gain.value == pytest.approx(100 * (accuracy.value - static.value), abs=1e-9)


def test_the_envelope_holds_our_own_routes_without_a_router_and_nobody_elses(tmp_path):
    made = {"static-big": (0.7,), "ours": (0.75, 0.95), "cascade": (0.8, 0.99)}
    for system, accuracies in made.items():
        finished_cell(tmp_path, system, accuracies=accuracies, macs=(1e6, 3e6)[: len(accuracies)])
    cells = read_finished(tmp_path, [CellId(system=s, seed=0) for s in made])
    envelope = Field(cells=cells, classes=("a", "b", "c", "d")).envelope()
    assert [net.name for net in envelope.vertices] == ["ours-s0 exit 0", "ours-s0 exit 1"]
    assert Field(cells=cells[1:], classes=("a", "b", "c", "d")).envelope() is None


def test_choices_that_changed_after_the_test_split_was_opened_are_refused(tmp_path):
    folder = finished_cell(tmp_path, "ours", accuracies=(0.75, 0.95), macs=(1e6, 3e6))
    choices = folder.read_json("choices.json")
    (folder.path / "choices.json").write_text(json.dumps({**choices, "temperature": 1.5}))
    with pytest.raises(ConflictError, match=r"the choices of ours-s0 are .* but its test split was opened for"):
        read_finished(tmp_path, [CellId(system="ours", seed=0)])


def test_systems_that_saw_other_test_images_are_not_compared(tmp_path):
    finished_cell(tmp_path, "ours", accuracies=(0.75, 0.95), macs=(1e6, 3e6))
    finished_cell(tmp_path, "cascade", accuracies=(0.75, 0.95), macs=(1e6, 3e6), n=200)
    cells = read_finished(tmp_path, [CellId(system=s, seed=0) for s in ("ours", "cascade")])
    with pytest.raises(ConflictError, match="cascade-s0 saw other test images than ours-s0"):
        judge_all(cells, classes=CLASSES, resamples=10)


def test_a_mean_over_fewer_seeds_than_asked_for_says_so():
    rows = [
        Row(system="a", seed="0", measure="m", x="1", value=0.5),
        Row(system="a", seed="1", measure="m", value=None),
    ]
    text = by_system(rows, "m", cells=[("a", "0"), ("a", "1")])
    assert "**50.00** (1 of 2)" in text


@pytest.mark.parametrize("measure", ["nauc", "nauc_cost", "area"])
def test_a_net_of_three_exits_has_areas_as_pairs_have(bench, measure):
    value = figure(bench[1], "branchy2", measure).value
    assert value is not None
    assert value < 1


@pytest.mark.parametrize("measure", ["over_thinking", "under_thinking", "drop_static_points"])
def test_a_net_of_three_exits_is_judged_at_tolerated_drops(bench, measure):
    assert figure(bench[1], "branchy2", measure, x="1").value is not None


def test_a_net_of_three_exits_is_judged_by_class_difficulty_and_shift(bench):
    rows = [r for r in bench[1] if r.system == "branchy2"]
    assert {f"1:{name}" for name in CLASSES} <= {r.x for r in rows if r.measure == "class_accuracy"}
    assert "1:hardest" in {r.x for r in rows if r.measure == "difficulty_rate"}
    assert {"clean", "fog-5", "prior_0.1-0"} <= {r.x for r in rows if r.measure == "shift_accuracy"}


@pytest.mark.parametrize("system", ["ours", "branchy2"])
def test_the_worst_class_is_that_of_the_largest_drop_against_the_static_big(bench, system):
    own = [r for r in bench[1] if (r.system, r.seed) == (system, "0") and not r.router.endswith("-by-class")]
    drops = {r.x: r.value for r in own if r.measure == "class_drop_points" and r.x.startswith("0.5:")}
    [worst] = [r for r in own if r.measure == "worst_class_drop_points" and r.x.startswith("0.5:")]
    assert (worst.x, worst.value) == (max(drops, key=drops.get), pytest.approx(max(drops.values())))
    assert worst.ci_low < worst.ci_high
    table = (bench[0] / "tables.md").read_text().split("## Worst class")[1].split("##")[0]
    assert f"{worst.x.partition(':')[2]}: {worst.value:+.2f} [" in table


def lines_of_ours(root, heading):
    text = (root / "tables.md").read_text().split(f"## {heading}")[1].split("##")[0]
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ours s")
    ]


def test_thresholds_by_class_stand_beside_the_single_one(bench):
    rows, [line, _] = bench[1], lines_of_ours(bench[0], "One threshold or one for each class")
    assert all(line)
    router = figure(rows, "ours", "saving", x="0.5").router
    both = [figure(rows, "ours", "accuracy_at_drop", x="0.5", router=r).value for r in (router, f"{router}-by-class")]
    assert line[3:5] == [f"{100 * value:.2f}" for value in both]


@pytest.mark.parametrize("system", ["ours", "branchy2"])
def test_thresholds_of_easy_images_are_tried_on_the_images_that_a_third_net_finds_hard(bench, system):
    rows = bench[1]
    all_images, easy = (figure(rows, system, "shift_rate", x=x, split="shift") for x in ("hard", "easy_to_hard"))
    assert all_images.value != easy.value
    drop = figure(rows, system, "shift_drop_points", x="easy_to_hard", split="shift").value
    accuracy = figure(rows, system, "shift_accuracy", x="easy_to_hard", split="shift").value
    cells = read_finished(bench[0], [CellId(system=s, seed=0) for s in ("static-mid2", "static-big")])
    hard = ~easy_half(cells[0].test.logits[-1], cells[0].test.labels)
    assert drop == pytest.approx(100 * (cells[1].correct[hard].mean() - accuracy))


@pytest.mark.parametrize("heading", ["One threshold or one for each class", "Shift from easy to hard"])
def test_what_was_not_frozen_with_the_choices_has_empty_cells(tmp_path, heading):
    for system, accuracies in {"ours": (0.75, 0.95), "static-mid2": (0.8,)}.items():
        as_of_format_1(finished_cell(tmp_path, system, accuracies=accuracies, macs=(1e6, 3e6)[: len(accuracies)]))
    write_results(tmp_path, CONFIG, classes=CLASSES, resamples=10)
    [line] = lines_of_ours(tmp_path, heading)
    assert [bool(cell) for cell in line[1:]] == [True, False] * 3
