"""What docs/results says follows from the predictions that lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.bench.finished import read_finished
from workers.bench.folder import read_config
from workers.bench.judging import judge_all
from workers.bench.planning import cells_of
from workers.bench.rows import Row, from_csv

RESULTS = Path(__file__).parents[3] / "docs" / "results"
BENCHES = sorted(path.parent for path in RESULTS.glob("*/bench.json"))


def key(row: Row) -> tuple[str, ...]:
    return row.system, row.seed, row.split, row.router, row.measure, row.x


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.name)
def test_exits_are_as_accurate_as_the_table_says_and_test_was_opened_for_these_choices(bench):
    cells = read_finished(bench, cells_of(read_config(bench)))
    rows = {(r.system, r.seed, r.measure): r.value for r in from_csv((bench / "results.csv").read_text())}
    assert cells
    for cell in cells:
        for index, logits in enumerate(cell.test.logits):
            accuracy = (logits.argmax(axis=1) == cell.test.labels).mean()
            said = rows[cell.cell.system, str(cell.cell.seed), f"exit{index}_accuracy"]
            assert said == pytest.approx(accuracy, abs=1e-6), f"{cell.cell} exit {index}"
    assert {(c.cell.system, str(c.cell.seed)) for c in cells} == {k[:2] for k in rows if k[2] == "exit0_accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.name)
def test_every_figure_follows_from_the_predictions_and_choices_beside_it(bench):
    said = from_csv((bench / "results.csv").read_text())
    classes = dict.fromkeys(r.x.partition(":")[2] for r in said if r.measure == "class_accuracy")
    cells = read_finished(bench, cells_of(read_config(bench)))
    again = judge_all(cells, classes=tuple(classes), resamples=2)  # resamples make the intervals alone
    resampled = {"share_better"}
    values = [{key(row): row.value for row in rows if row.measure not in resampled} for rows in (said, again)]
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.name)
def test_results_name_no_folder_of_the_machine_they_were_made_on(bench):
    root = read_config(bench).dataset.root
    assert root is not None
    assert root.startswith("~/")
