from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nas_service.api import create_app
from nas_service.store import Store
from nas_service.store.database import Database

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
        ("POST", "/api/v1/boards/pi/undrain", "admin"),
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
    assert [token.name for token in api.store.tokens.list()] == ["viewer", "submitter", "admin"]


def test_ready_has_no_content(api: Api) -> None:
    answer = api.get("/readyz", role=None)
    assert (answer.status_code, answer.content) == (204, b"")


def test_ready_says_503_when_the_store_cannot_be_reached(api: Api, tmp_path: Path) -> None:
    lost = Store(Database(f"sqlite:///{tmp_path}/gone/store.sqlite"), api.store.files)
    app = create_app(store=lost, launcher=api.launcher, fleet=api.fleet, version="1")
    answer = replace(api, app=app).get("/readyz", role=None)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["detail"] == "the store cannot be reached now; try again"
