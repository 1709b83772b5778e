from __future__ import annotations

import pytest

from .conftest import Api


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/static/app.js", "/static/plotly.min.js"])
def test_only_health_and_the_page_itself_are_open(api: Api, path: str) -> None:
    assert api.get(path, role=None).status_code in (200, 204)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/jobs"),
        ("POST", "/api/v1/jobs"),
        ("GET", "/api/v1/jobs/x"),
        ("GET", "/api/v1/boards"),
        ("GET", "/api/v1/measurements"),
        ("GET", "/api/v1/tokens"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/no/such/path"),
        ("GET", "/static/../openapi.json"),
    ],
)
def test_everything_else_needs_a_token(api: Api, method: str, path: str) -> None:
    answer = api.ask(method, path, role=None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "no bearer token was sent; send `Authorization: Bearer TOKEN`" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Bearer nas_wrong", "Basic bmFzOm5hcw==", "Bearer", ""])
def test_a_wrong_token_opens_nothing(api: Api, header: str) -> None:
    assert api.get("/api/v1/jobs", role=None, headers={"Authorization": header}).status_code == 401


def test_a_revoked_token_opens_nothing_from_then_on(api: Api) -> None:
    assert api.get("/api/v1/jobs", role="viewer").status_code == 200
    api.store.tokens.revoke("viewer")
    answer = api.get("/api/v1/jobs", role="viewer")
    assert answer.status_code == 401
    assert "not known or was revoked" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/api/v1/jobs", "submitter"),
        ("POST", "/api/v1/jobs/x/stop", "submitter"),
        ("POST", "/api/v1/jobs/x/resume", "submitter"),
        ("POST", "/api/v1/boards/pi/drain", "admin"),
        ("DELETE", "/api/v1/boards/pi", "admin"),
        ("GET", "/api/v1/tokens", "admin"),
        ("DELETE", "/api/v1/tokens/x", "admin"),
    ],
)
def test_a_lesser_role_is_refused_with_the_role_that_is_needed(api: Api, method: str, path: str, needed: str) -> None:
    answer = api.ask(method, path, role="viewer", json={"kind": "search"} if path.endswith("/jobs") else None)
    assert answer.status_code == 403
    assert f"role is viewer but {needed} is needed" in answer.json()["detail"]


def test_a_submitter_cannot_add_boards_or_tokens(api: Api) -> None:
    board = {"name": "pi", "board_class": "rpi5"}
    assert api.post("/api/v1/boards", role="submitter", json=board).status_code == 403
    assert api.post("/api/v1/tokens", role="submitter", json={"name": "me", "role": "admin"}).status_code == 403
    assert api.fleet.known == {}


def test_ready_has_no_content_and_says_503_without_a_store(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.get("/readyz", role=None).content == b""
    api.store.database.close()
    path = api.store.database.url.database
    assert path is not None
    monkeypatch.setattr(api.store.database, "_engine", type(api.store.database)(f"sqlite:///{path}.gone/x")._engine)
    answer = api.get("/readyz", role=None)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
