from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from nas_service.candidate import CandidateStatus
from nas_service.job import parse_job
from nas_service.store import Store

from .archive import SPEC, add_candidate, beat, enrol, measure, proposal
from .conftest import Api


@pytest.fixture
def job_id(store: Store) -> str:
    return store.jobs.create(parse_job(SPEC)).id


@pytest.fixture
def measured_job(store: Store, job_id: str) -> str:
    """A job with one candidate, whose halves take 2 and 10 ms on a board of class rpi5."""
    enrol(store.fleet, "pi", board_class="rpi5", now=1000.0)
    beat(store.fleet, "pi", state="idle", now=1001.0)
    structures = proposal(1, coupling="stem").structures
    keys = {
        half: measure(
            store.fleet,
            structure_key=structures[half],
            half=half,
            board="pi",
            board_class="rpi5",
            mean_ms=mean_ms,
            now=1002.0,
        )
        for half, mean_ms in (("little", 2.0), ("big", 10.0))
    }
    add_candidate(store, job_id, 1, measurements={"rpi5": keys})
    return job_id


def test_candidates_come_by_number_in_pages_without_curves(api: Api, job_id: str) -> None:
    for number in (1, 2, 3):
        add_candidate(api.store, job_id, number)
    page = api.get(f"/api/v1/jobs/{job_id}/candidates?limit=2&offset=1", role="viewer").json()["candidates"]
    assert [c["number"] for c in page] == [2, 3]
    assert page[0]["coupling"] == "stem"
    assert "curve" not in page[0]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("status=finished", [1]),
        ("status=asked", [2]),
        ("finalists=true", []),
        ("finalists=false", [1, 2]),
        ("strategy=tpe", []),
        ("strategy=random&status=asked", [2]),
    ],
)
def test_candidates_are_filtered(api: Api, job_id: str, query: str, numbers: list[int]) -> None:
    add_candidate(api.store, job_id, 1)
    api.store.candidates.asked(job_id, 0, "random", [proposal(2, coupling="nested")])
    found = api.get(f"/api/v1/jobs/{job_id}/candidates?{query}").json()["candidates"]
    assert [c["number"] for c in found] == numbers


def test_an_unknown_status_is_refused_with_those_there_are(api: Api, job_id: str) -> None:
    answer = api.get(f"/api/v1/jobs/{job_id}/candidates?status=done")
    assert answer.status_code == 422
    assert "'finished'" in answer.json()["detail"]


def test_the_front_holds_a_candidates_worthwhile_thresholds(api: Api, job_id: str) -> None:
    candidate = add_candidate(api.store, job_id, 1)
    front = api.get(f"/api/v1/jobs/{job_id}/front").json()
    assert (front["axis"], front["objectives"], front["candidates"]) == ("macs", ["error", "macs"], 1)
    assert [p["threshold"] for p in front["points"]] == ["never", 0.5, "always"]
    assert front["points"][1]["candidate_id"] == candidate.id
    assert front["points"][1]["values"]["macs"] == 550.0
    assert front["points"][1]["routes"] == {"little": 0.5, "big": 0.5}
    assert not any("@" in name for p in front["points"] for name in p["values"])


def test_a_board_gives_the_front_its_latency(api: Api, measured_job: str) -> None:
    front = api.get(f"/api/v1/jobs/{measured_job}/front?board=rpi5").json()
    assert (front["axis"], front["boards"]) == ("latency_ms@rpi5", ["rpi5"])
    assert [p["values"]["latency_ms@rpi5"] for p in front["points"]] == [2.0, 7.0, 12.0]
    assert front["points"][0]["values"]["memory_kib@rpi5"] == 1000.0
    assert "energy_mj@rpi5" not in front["points"][0]["values"]


@pytest.mark.parametrize(
    ("query", "thresholds"),
    [
        ("max_latency_ms=7", ["never", 0.5]),
        ("min_accuracy=0.85", ["always"]),
        ("max_memory_kib=999", []),
        ("max_energy_mj=1", []),
    ],
)
def test_limits_filter_the_front(api: Api, measured_job: str, query: str, thresholds: list[object]) -> None:
    front = api.get(f"/api/v1/jobs/{measured_job}/front?board=rpi5&{query}").json()
    assert [p["threshold"] for p in front["points"]] == thresholds


def test_an_unknown_board_is_refused_with_those_measured(api: Api, measured_job: str) -> None:
    answer = api.get(f"/api/v1/jobs/{measured_job}/front?board=rpi6")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "board"
    assert "choose one of: rpi5" in answer.json()["detail"]


def test_the_front_as_csv_has_a_row_for_each_point(api: Api, measured_job: str) -> None:
    answer = api.get(f"/api/v1/jobs/{measured_job}/front?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["threshold"] for r in rows] == ["never", "0.5", "always"]
    assert [float(r["latency_ms@rpi5"]) for r in rows] == [2.0, 7.0, 12.0]


def test_a_candidate_is_shown_with_its_curve_and_its_halves_figures(api: Api, measured_job: str) -> None:
    found = api.get(f"/api/v1/candidates/{measured_job}-0001").json()
    assert found["curve"]["thresholds"] == ["never", 0.5, "always"]
    assert found["curve"]["values"]["latency_ms@rpi5"] == [2.0, 7.0, 12.0]
    assert found["boards"] == {
        "rpi5": {"little": {"latency_ms": 2.0, "memory_kib": 500.0}, "big": {"latency_ms": 10.0, "memory_kib": 500.0}}
    }


def test_a_candidate_without_a_curve_is_shown_without_one(api: Api, job_id: str) -> None:
    (asked,) = api.store.candidates.asked(job_id, 0, "random", [proposal(1, coupling="stem")])
    assert api.get(f"/api/v1/candidates/{asked.id}").json()["curve"] is None


def test_a_finalists_bundle_is_sent_as_it_was_stored(api: Api, job_id: str) -> None:
    candidate = add_candidate(api.store, job_id, 1)
    digest = api.store.files.put(b"PK zip bytes")
    api.store.candidates.update(replace(candidate, finalist=True, bundle_sha256=digest))
    answer = api.get(f"/api/v1/candidates/{candidate.id}/bundle", role="viewer")
    assert (answer.status_code, answer.content) == (200, b"PK zip bytes")
    assert answer.headers["content-type"] == "application/zip"
    assert f"{candidate.id}.zip" in answer.headers["content-disposition"]
    assert answer.headers["etag"] == f'"{digest}"'


def test_a_corrupt_bundle_is_never_sent(api: Api, job_id: str) -> None:
    candidate = add_candidate(api.store, job_id, 1)
    digest = api.store.files.put(b"PK zip bytes")
    api.store.candidates.update(replace(candidate, finalist=True, bundle_sha256=digest))
    path = api.store.files.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"PK zip bytez")
    answer = api.get(f"/api/v1/candidates/{candidate.id}/bundle")
    assert answer.status_code == 500
    assert b"bytez" not in answer.content


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "is no finalist, and only finalists have bundles"),
        ({"finalist": True}, "is a finalist without a bundle yet"),
    ],
)
def test_others_have_no_bundle_and_hear_why(api: Api, job_id: str, changes: dict[str, bool], reason: str) -> None:
    candidate = add_candidate(api.store, job_id, 1)
    api.store.candidates.update(replace(candidate, **changes))  # type: ignore[arg-type]
    answer = api.get(f"/api/v1/candidates/{candidate.id}/bundle")
    assert answer.status_code == 409
    assert reason in answer.json()["detail"]


def test_a_failed_candidate_has_no_bundle_and_tells_its_error(api: Api, job_id: str) -> None:
    (asked,) = api.store.candidates.asked(job_id, 0, "random", [proposal(1, coupling="stem")])
    api.store.candidates.finish(replace(asked, status=CandidateStatus.FAILED, error="out of memory"), None)
    answer = api.get(f"/api/v1/candidates/{asked.id}/bundle")
    assert answer.status_code == 409
    assert "failed (out of memory)" in answer.json()["detail"]


def test_an_unknown_candidate_is_not_found(api: Api) -> None:
    assert api.get("/api/v1/candidates/none-aaaaaa-0001").status_code == 404
