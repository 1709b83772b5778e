"""Every endpoint of the contract is in the application's OpenAPI description."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from nas_service.api import create_app
from nas_service.home import Home
from nas_service.store import Store
from tests.nas_service.api.fakes import FakeLauncher, StoredFleet

API = "/api/v1"
ENDPOINTS = [
    ("post", f"{API}/jobs"),
    ("get", f"{API}/jobs"),
    ("get", f"{API}/jobs/{{job_id}}"),
    ("post", f"{API}/jobs/{{job_id}}/stop"),
    ("post", f"{API}/jobs/{{job_id}}/resume"),
    ("get", f"{API}/jobs/{{job_id}}/events"),
    ("get", f"{API}/jobs/{{job_id}}/candidates"),
    ("get", f"{API}/jobs/{{job_id}}/front"),
    ("get", f"{API}/candidates/{{candidate_id}}"),
    ("get", f"{API}/candidates/{{candidate_id}}/bundle"),
    ("get", f"{API}/boards"),
    ("post", f"{API}/boards"),
    ("delete", f"{API}/boards/{{name}}"),
    ("post", f"{API}/boards/{{name}}/drain"),
    ("get", f"{API}/measurements"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
]
FILTERS = {"board", "max_latency_ms", "max_energy_mj", "max_memory_kib", "min_accuracy", "format"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with Store.open(Home(tmp_path_factory.mktemp("home")).create()) as store:
        yield create_app(store=store, launcher=FakeLauncher(), fleet=StoredFleet(store), version="1.2.3")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_the_endpoint_is_described(app, method, path):
    assert method in app.openapi()["paths"].get(path, {})


def test_the_front_takes_the_contracts_filters(app):
    described = app.openapi()["paths"][f"{API}/jobs/{{job_id}}/front"]["get"]["parameters"]
    assert {p["name"] for p in described if p["in"] == "query"} >= FILTERS


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_dashboard_and_the_apis_description_are_pages(app, path):
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://nas.test") as client:
            return await client.get(path)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
