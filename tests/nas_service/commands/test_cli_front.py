from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from nas_service.commands.front import selection


def test_front_prints_a_row_for_each_point_with_its_candidate_and_share(here, search):
    outcome = here("front", search)
    header, *rows = outcome.out.splitlines()
    assert outcome.code == 0
    assert header.split() == ["CANDIDATE", "COUPLING", "THRESHOLD", "ACCURACY", "%", "ESCALATED", "%", "MACS"]
    assert len(rows) >= 3
    assert all(row.startswith(search) for row in rows)


def test_front_as_json_names_objectives_and_points(here, search):
    front = json.loads(here("front", search, "--json").out)
    assert front["objectives"] == ["error", "macs"]
    assert any(0 < point["escalation_rate"] < 1 for point in front["points"])


def test_front_as_csv_has_the_same_points_as_json(here, search):
    rows = list(csv.DictReader(io.StringIO(here("front", search, "--csv").out)))
    points = json.loads(here("front", search, "--json").out)["points"]
    assert [row["candidate_id"] for row in rows] == [point["candidate_id"] for point in points]


def test_front_on_a_board_class_sets_accuracy_against_its_latency(here, search):
    outcome = here("front", search, "--board", "local-x86", "--max-latency-ms", "0.5")
    points = json.loads(here("front", search, "--board", "local-x86", "--max-latency-ms", "0.5", "--json").out)[
        "points"
    ]
    assert "LATENCY_MS@LOCAL-X86" in outcome.out.splitlines()[0]
    assert points
    assert all(point["values"]["latency_ms@local-x86"] <= 0.5 for point in points)


def test_front_without_points_says_what_to_do(here, search):
    outcome = here("front", search, "--min-accuracy", "1")
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 1)
    assert "widen the limits" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--board", "rpi9"], 1, "'rpi9' has no measurement in this job; choose one of: local-x86"),
        (["--min-accuracy", "95"], 2, "95.0 is not in the range 0<=x<=1"),
        (["--json", "--csv"], 2, "--json and --csv were both given; choose one"),
    ],
)
def test_front_refuses_what_it_cannot_answer(here, search, arguments, code, text):
    outcome = here("front", search, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert text in outcome.err


def test_front_of_an_unknown_job_fails_with_the_services_words(here):
    outcome = here("front", "no-such-job-aaaaaa")
    assert outcome.code == 1
    assert "no-such-job-aaaaaa" in outcome.err
    assert "Traceback" not in outcome.err


def test_get_unpacks_a_finalists_bundle_by_number(here, search, tmp_path):
    outcome = here("get", search, "2", "-o", str(tmp_path / "bundle"))
    assert (outcome.code, outcome.out.strip()) == (0, str(tmp_path / "bundle"))
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == [
        "big.onnx",
        "bundle.json",
        "little.onnx",
        "parity.npz",
    ]
    assert list(tmp_path.glob(".bundle*")) == []


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        ("1", "is no finalist, and only finalists have bundles"),
        ("6", "training diverged"),
        ("99", "0099"),
        ("other-job-aaaaaa-0001", "is no candidate of"),
        ("seven", "is no candidate id"),
    ],
)
def test_get_says_why_there_is_no_bundle_and_leaves_nothing(here, search, tmp_path, candidate, text):
    outcome = here("get", search, candidate, "-o", str(tmp_path / "bundle"))
    assert (outcome.code, outcome.out) == (1, "")
    assert text in outcome.err
    assert not (tmp_path / "bundle").exists()


def test_report_writes_html_markdown_and_plots_of_a_real_job(here, search, tmp_path):
    outcome = here("report", search, "-o", str(tmp_path))
    names = {Path(line).name for line in outcome.out.splitlines()}
    assert outcome.code == 0
    assert names == {
        "report.html", "report.md", "front-macs.png", "front-latency-local-x86.png", "progress.png",
        "progress-time.png", "training.png",
    }  # fmt: skip
    text = (tmp_path / "report.md").read_text()
    assert "probe: for demos only" in text
    assert "1 candidate failed" in text
    assert "| 2 | little | demo-board |" in text


def points_on_a_line(count: int) -> list[dict]:
    return [{"values": {"error": float(count - i), "macs": float(i)}} for i in range(count)]


def test_a_short_front_is_shown_whole():
    points = points_on_a_line(32)
    assert selection(points, ["error", "macs"]) == points


def test_a_long_front_is_thinned_to_a_selection_that_keeps_its_ends_and_order():
    points = points_on_a_line(700)
    shown = selection(points, ["error", "macs"])
    assert len(shown) == 32
    assert (shown[0], shown[-1]) == (points[0], points[-1])
    assert [p["values"]["macs"] for p in shown] == sorted(p["values"]["macs"] for p in shown)
