from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace

import pytest

from nas_service.report.data import ReportData, TrainingPoint
from nas_service.report.notes import honest_notes
from nas_service.report.plots import progress_plots
from nas_service.report.tables import (
    boards_table,
    finalists_table,
    headline,
    int8_table,
    measurements_table,
    provenance_table,
)
from nas_service.report.write import render, write_report
from tests.nas_service.report.synthetic import report_data


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return render(report_data())


def test_the_same_data_give_the_same_bytes(files):
    assert render(report_data()) == files


def test_html_carries_its_own_plotting_code_and_asks_the_network_for_nothing(files):
    html = files["report.html"].decode()
    page = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert len(html) > 1_000_000
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!data:)', page)


def test_html_and_markdown_have_a_place_for_every_plot(files):
    html, markdown = files["report.html"].decode(), files["report.md"].decode()
    embedded = re.search(r'<script id="figures" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert embedded is not None
    figures = json.loads(embedded[1])
    assert set(figures) == {name[:-4] for name in files if name.endswith(".png")}
    for name in figures:
        assert f'id="plot-{name}"' in html
        assert f"]({name}.png)" in markdown


def test_names_cannot_smuggle_markup_into_the_page(files):
    evil = replace(report_data(), name="<script>alert(1)</script>")
    evil = replace(evil, candidates=tuple(replace(c, strategy="</script><b>x") for c in evil.candidates))
    html = render(evil)["report.html"].decode()
    assert html.count("<script") == files["report.html"].decode().count("<script")
    assert "<b>x" not in html


def test_writing_replaces_the_files_and_leaves_no_other(tmp_path, files):
    (tmp_path / "report.html").write_text("old")
    paths = write_report(report_data(), tmp_path / "deep" / "er")
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == sorted(files)
    assert paths[0].name == "report.html"


def test_many_figures_with_long_names_still_leave_room_for_the_training_plot():
    figures = {f"{size}_{half} {kind}": 1.0 for size in ("largest", "smallest") for half in ("little", "big")
               for kind in ("loss", "accuracy")}  # fmt: skip
    data = replace(report_data(), training=(TrainingPoint(epoch=1, figures=figures),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "training.png" in render(data)


def test_a_job_that_found_nothing_still_gets_a_report():
    empty = ReportData(job_id="a-aaaaaa", name="a", kind="search", state="failed", spec={})
    made = render(empty)
    assert set(made) == {"report.html", "report.md"}
    assert "The job is failed, not finished" in made["report.md"].decode()


@pytest.mark.parametrize(
    "text",
    [
        "tier probe: for demos only",
        "demo-board shares its machine with the search, so its figures are graded local",
        "Energy was not measured: no board that took part has a sensor. It is absent here, not zero.",
        "3 of 28 evaluated candidates have no complete measurement on local-x86",
        "on the 300 images that the search selected by, where one standard error is up to 2.9 points",
        "1 candidate failed and is in no figure: 1 times big could not be measured",
    ],
)
def test_notes_say_what_the_figures_do_not(text):
    assert any(text in note for note in honest_notes(report_data()))


def test_notes_are_silent_on_what_is_well():
    data = report_data()
    good = tuple(replace(m, tier="rank", grade="gold", energy_mj=1.0) for m in data.measurements)
    notes = " ".join(honest_notes(replace(data, measurements=good)))
    assert not any(word in notes for word in ("probe", "graded local", "Energy was not measured", "not finished"))


def test_without_boards_no_latency_is_claimed():
    notes = honest_notes(replace(report_data(), measurements=()))
    assert any("Nothing was measured on a board" in note for note in notes)


def test_candidates_whose_costs_were_predicted_are_counted_and_left_out_of_plots():
    data = report_data()
    first, *others = data.candidates
    spared = replace(first, values=tuple({**point, "predicted": "local-x86"} for point in first.values))
    notes = honest_notes(replace(data, candidates=(spared, *others)))
    assert any(f"1 of {len(data.finished)} evaluated candidates were not measured" in note for note in notes)
    assert progress_plots(replace(data, candidates=(spared, *others))) != progress_plots(data)
    nothing = replace(first, values=())
    plots = [progress_plots(replace(data, candidates=(one, *others))) for one in (spared, nothing)]
    assert plots[0] == plots[1]


def test_tables_say_tier_and_grade_plainly_and_drop_what_nobody_measured():
    data = report_data()
    measured, boards = measurements_table(data), boards_table(data)
    assert measured is not None
    assert boards is not None
    assert "energy, mJ" not in measured.columns
    assert measured.rows[0][4] == "probe: for demos only"
    assert boards.rows[0][2:5] == ("probe: for demos only", "local: shares its machine with the search", "no sensor")


def test_finalists_show_promise_and_test_side_by_side():
    table = finalists_table(report_data())
    assert table is not None
    assert table.rows[0] == ("5", "nested", "cheap", "0.4100", "96.37", "13.67", "96.10", "410,000 MACs")


def test_provenance_has_seed_splits_and_hashes():
    names = [row[0] for row in provenance_table(report_data()).rows]
    assert {"seed", "spec hash", "split test", "split calibration", "artefact supernet"} <= set(names)


def test_the_headline_counts_candidates_by_strategy():
    fact = headline(report_data(), ())[0]
    assert (fact.value, fact.context) == ("28", "14 by nsga2, 14 by random; 1 failed")


def test_a_finalist_in_int8_shows_what_int8_changed_and_the_others_nothing():
    data = report_data()
    assert int8_table(data) is None
    changed = {
        "weights": "fine-tuned",
        "method": "entropy",
        "size_bytes": {"fp32": {"little": 2048, "big": 8192}, "int8": {"little": 1024, "big": 3072}},
        "accuracy": {"test": {"fp32": {"little": 0.8, "big": 0.9}, "int8": {"little": 0.79, "big": 0.901}}},
        "route_agreement": {"test": 0.985},
    }
    chosen = data.finalists[0]
    with_int8 = replace(chosen, final={**chosen.final, "int8": changed})
    others = tuple(with_int8 if c.id == chosen.id else c for c in data.candidates)
    table = int8_table(replace(data, candidates=others))
    assert table is not None
    assert [row[1:] for row in table.rows] == [
        ("little", "fine-tuned, entropy", "80.00", "79.00", "2", "1", "98.50"),
        ("big", "fine-tuned, entropy", "90.00", "90.10", "8", "3", "98.50"),
    ]
    assert "Finalists in int8" in render(replace(data, candidates=others))["report.md"].decode()
