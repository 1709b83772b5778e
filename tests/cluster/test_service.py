"""The running service over HTTP: who may do what, what is refused at once, and what it shows."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.cluster.live import BOARD, LiveService

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.ssh, pytest.mark.timeout(240)]

API = "/api/v1"
MOST_S = 2.0
JOB: dict[str, Any] = {
    "kind": "search",
    "name": "never runs",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "supernet": {"epochs": 2},
    "strategy": {"name": "random", "evaluations": 4},
    "objectives": ["error", "macs"],
}


@pytest.fixture(scope="module")
def tokens(live: LiveService) -> dict[str, str]:
    return {role: live.client.create_token(f"a-{role}", role=role)["secret"] for role in ("viewer", "submitter")}


@pytest.fixture
def ask(live: LiveService, tokens):
    """Send one request with a role's token; the admin's by default, none for None."""

    def send(method: str, path: str, *, role: str | None = "admin", **options: Any) -> httpx.Response:
        known = {**tokens, "admin": live.home.read_admin_token() or ""}
        headers = {"Content-Type": "application/yaml"} if "content" in options else {}
        headers |= {} if role is None else {"Authorization": f"Bearer {known[role]}"}
        url = f"{live.state.api_url}{path}"
        return httpx.request(method, url, headers=headers, timeout=30.0, trust_env=False, **options)

    return send


@pytest.mark.parametrize("path", ["/jobs", "/boards", "/measurements"])
def test_without_a_token_nothing_is_told(ask, path):
    answer = ask("GET", f"{API}{path}", role=None)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_viewer_sees_jobs_and_submits_none(ask):
    assert ask("GET", f"{API}/jobs", role="viewer").status_code == 200
    assert ask("POST", f"{API}/jobs", role="viewer", json=JOB).status_code == 403


BAD = {
    "no YAML": ("kind: [search", "line"),
    "unknown key": ({**JOB, "stratgy": 1}, "strategy"),
    "unknown board class": ({**JOB, "objectives": ["error", "latency_ms@rpi5"]}, "rpi5"),
    "missing data": ({**JOB, "dataset": {"name": "parquet", "root": "/nowhere/at/all"}}, "/nowhere/at/all"),
    "impossible constraint": ({**JOB, "constraints": {"params": 10}}, "no pair of space"),
    "unknown checkpoint": ({**JOB, "supernet": {"checkpoint": "0" * 64}}, "no artefact"),
}


@pytest.mark.parametrize("wrong", list(BAD))
def test_what_the_spec_shows_is_refused_within_two_seconds(ask, live, wrong):
    body, word = BAD[wrong]
    text = body if isinstance(body, str) else json.dumps(body)  # JSON is YAML
    before = len(live.store.jobs.list())
    begin = time.monotonic()
    answer = ask("POST", f"{API}/jobs", role="submitter", content=text)
    assert time.monotonic() - begin <= MOST_S
    assert answer.status_code == 422
    assert word in answer.text
    assert len(live.store.jobs.list()) == before


def test_the_command_exits_with_1_and_says_what_is_wrong(live, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps({**JOB, "objectives": ["error", "latency_ms@rpi5"]}))
    said = live.nas("submit", str(file))
    assert (said.returncode, said.stdout) == (1, "")
    assert "rpi5" in said.stderr
    assert "Traceback" not in said.stderr


def test_figures_for_prometheus_are_there(ask):
    text = ask("GET", "/metrics").text
    assert "# TYPE" in text
    assert "nas_" in text


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/static/plotly.min.js", "text/javascript")])
def test_the_dashboard_and_its_plots_come_from_here(ask, path, kind):
    answer = ask("GET", path, role=None)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)


def test_the_dashboard_names_no_other_host(ask):
    page = ask("GET", "/", role=None).text
    assert "http://" not in page
    assert "https://" not in page


def test_health_is_told_to_everybody(ask):
    assert [ask("GET", path, role=None).status_code for path in ("/healthz", "/readyz")] == [200, 204]


def test_the_board_is_listed_with_its_class(live):
    [board] = [b for b in live.client.boards() if b["name"] == BOARD]
    assert board["board_class"] == "local"
    shown = live.nas("board", "ls", "--json")
    assert shown.returncode == 0, shown.stderr
    assert BOARD in shown.stdout
