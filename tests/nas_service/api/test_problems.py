from __future__ import annotations

from typing import Any

import pytest

from nas_service.api.body_limit import MAX_BODY_BYTES

from .conftest import Api


def check(answer: Any, status: int) -> dict[str, Any]:
    """Return the problem, after checking that it is one."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == status
    return body


def test_an_unknown_path_is_a_problem(api: Api) -> None:
    assert "no such resource: /api/v1/jbos" in check(api.get("/api/v1/jbos"), 404)["detail"]


def test_a_wrong_method_is_a_problem_with_the_allowed_ones(api: Api) -> None:
    answer = api.ask("PUT", "/api/v1/tokens")
    assert "PUT is not allowed" in check(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET, POST"


def test_an_unknown_job_says_where_jobs_are_listed(api: Api) -> None:
    assert "`nas jobs` lists them" in check(api.get("/api/v1/jobs/none-aaaaaa"), 404)["detail"]


def test_a_wrong_query_names_the_parameter(api: Api) -> None:
    body = check(api.get("/api/v1/jobs?limit=0"), 422)
    assert body["errors"][0]["path"] == "limit"


def test_a_wrong_body_names_the_field(api: Api) -> None:
    body = check(api.post("/api/v1/boards", json={"name": "Pi 5", "board_class": "rpi5", "colour": "red"}), 422)
    assert {e["path"] for e in body["errors"]} == {"name", "colour"}


def test_a_body_above_a_mebibyte_is_refused_by_its_announced_length(api: Api) -> None:
    answer = api.post("/api/v1/jobs", content=b"x" * (MAX_BODY_BYTES + 1), headers={"Content-Type": "application/yaml"})
    assert "larger than 1048576 bytes" in check(answer, 413)["detail"]


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/boards"])
def test_a_body_without_an_announced_length_is_cut_off(api: Api, path: str) -> None:
    async def chunks() -> Any:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield b" " * 65536

    check(api.post(path, content=chunks(), headers={"Content-Type": "application/json"}), 413)


def test_another_content_type_is_refused_with_those_allowed(api: Api) -> None:
    answer = api.post("/api/v1/jobs", content=b"kind=search", headers={"Content-Type": "text/plain"})
    assert "text/plain but must be application/json or application/yaml" in check(answer, 415)["detail"]


def test_a_failure_inside_tells_nothing_but_an_incident(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret path /srv/nas")

    monkeypatch.setattr(api.store.jobs, "list", fail)
    answer = api.get("/api/v1/jobs")
    detail = check(answer, 500)["detail"]
    assert "secret" not in answer.text
    assert detail.rsplit(" ", 1)[1] in caplog.text


def test_every_answer_keeps_browsers_in_bounds(api: Api) -> None:
    headers = api.get("/", role=None).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert api.get("/api/v1/jobs").headers["cache-control"] == "no-store"


def test_an_unknown_query_key_is_a_problem_naming_the_nearest_one(api: Api) -> None:
    detail = check(api.get("/api/v1/jobs/any-job/front?max_latency=3"), 422)["detail"]
    assert "unknown query key 'max_latency'; did you mean 'max_latency_ms'?" in detail
    assert "min_accuracy" in detail


def test_an_endpoint_without_query_keys_says_so(api: Api) -> None:
    assert "this endpoint takes none" in check(api.get("/api/v1/boards?all=1"), 422)["detail"]
