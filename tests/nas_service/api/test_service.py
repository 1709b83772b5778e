from __future__ import annotations

import gzip
import json
import time
from typing import Any

import anyio
import pytest
from plotly.offline import get_plotlyjs
from prometheus_client.parser import text_string_to_metric_families

from nas_service.api.event_stream import Pace, stream_events
from nas_service.job import parse_job
from nas_service.job_state import JobState
from nas_service.store import Store

from .archive import SPEC, fill
from .conftest import Api

ENDPOINTS = {
    "/api/v1/jobs": {"get", "post"},
    "/api/v1/jobs/{job_id}": {"get"},
    "/api/v1/jobs/{job_id}/stop": {"post"},
    "/api/v1/jobs/{job_id}/resume": {"post"},
    "/api/v1/jobs/{job_id}/events": {"get"},
    "/api/v1/jobs/{job_id}/candidates": {"get"},
    "/api/v1/jobs/{job_id}/front": {"get"},
    "/api/v1/candidates/{candidate_id}": {"get"},
    "/api/v1/candidates/{candidate_id}/bundle": {"get"},
    "/api/v1/boards": {"get", "post"},
    "/api/v1/boards/{name}": {"delete"},
    "/api/v1/boards/{name}/drain": {"post"},
    "/api/v1/boards/{name}/undrain": {"post"},
    "/api/v1/board-classes/{name}/agreement": {"get"},
    "/api/v1/gateway/host-key": {"post"},
    "/api/v1/measurements": {"get"},
    "/api/v1/tokens": {"get", "post"},
    "/api/v1/tokens/{name}": {"delete"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


def figures(api: Api) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics by name and label values."""
    families = text_string_to_metric_families(api.get("/metrics", role="viewer").text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_health_tells_the_version(api: Api) -> None:
    assert api.get("/healthz", role=None).json() == {"status": "ok", "version": "1.2.3"}


def test_the_description_names_every_endpoint_and_resolves(api: Api) -> None:
    described = api.get("/openapi.json", role="viewer").json()
    assert {path: set(verbs) for path, verbs in described["paths"].items()} == ENDPOINTS
    names = {part.split('"')[0] for part in json.dumps(described).split("#/components/schemas/")[1:]}
    assert names <= set(described["components"]["schemas"])


def test_metrics_count_what_the_store_holds(api: Api) -> None:
    fill(api.store, candidates=3, now=time.time())
    found = figures(api)
    assert found["nas_jobs", "searching"] == 1
    assert found["nas_jobs", "failed"] == 0
    assert (found["nas_candidates", "finished"], found["nas_candidates", "failed"]) == (3, 1)
    assert found["nas_boards", "ready"] == 2
    assert found["nas_measurements", "ok"] > 0


def test_metrics_time_requests_by_route_and_not_by_address(api: Api) -> None:
    for job_id in ("none-aaaaaa", "none-bbbbbb"):
        api.get(f"/api/v1/jobs/{job_id}")
    counts = {key: value for key, value in figures(api).items() if key[0] == "nas_http_request_seconds_count"}
    assert [v for k, v in counts.items() if k[1] == "GET" and k[2].endswith("/jobs/{job_id}") and k[3] == "404"] == [2]


def test_plotly_comes_from_its_installed_package_and_is_cached(api: Api) -> None:
    answer = api.get("/static/plotly.min.js", role=None, headers={"Accept-Encoding": "identity"})
    assert answer.text == get_plotlyjs()
    assert answer.headers["cache-control"].startswith("public, max-age=")
    again = api.get("/static/plotly.min.js", role=None, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_static_files_are_sent_small_to_those_who_can_read_it(api: Api) -> None:
    answer = api.get("/static/app.js", role=None, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert len(gzip.compress(answer.content)) < len(answer.content)


@pytest.mark.parametrize("name", ["none.js", "../app.py", "%2e%2e/app.py", "..%2fapp.py"])
def test_nothing_outside_the_static_files_is_sent(api: Api, name: str) -> None:
    assert api.get(f"/static/{name}").status_code == 404


def test_the_page_loads_nothing_from_elsewhere(api: Api) -> None:
    for path in ("/", "/docs", "/static/style.css", "/static/app.js", "/static/front.js", "/static/docs.js"):
        text = api.get(path, role=None).text
        assert "http://" not in text
        assert "https://" not in text


async def collect(store: Store, job_id: str, *, act: Any, pace: Pace) -> list[str]:
    """What a stream sends while `act` happens to the job in the store, after each pause."""
    steps = iter(act)

    async def sleep(_: float) -> None:
        next(steps)()

    paced = Pace(poll_s=pace.poll_s, keep_alive_s=pace.keep_alive_s, sleep=sleep)
    return [text async for text in stream_events(store.jobs, job_id, pace=paced)]


def test_a_stream_sends_events_as_they_come_and_ends_with_the_job(store: Store) -> None:
    job_id = store.jobs.create(parse_job(SPEC)).id
    steps = [
        lambda: store.jobs.append_event(job_id, "note", "later"),
        lambda: store.jobs.transition(job_id, JobState.STOPPED, "asked to"),
    ]
    sent = anyio.run(lambda: collect(store, job_id, act=steps, pace=Pace()))
    kinds = [line.partition(": ")[2] for text in sent for line in text.splitlines() if line.startswith("event: ")]
    assert kinds == ["state", "note", "state"]
    assert sent[-1] == ": the end\n\n"


def test_a_silent_stream_says_that_it_lives(store: Store) -> None:
    job_id = store.jobs.create(parse_job(SPEC)).id
    steps = [lambda: None, lambda: None, lambda: store.jobs.transition(job_id, JobState.STOPPED)]
    sent = anyio.run(lambda: collect(store, job_id, act=steps, pace=Pace(keep_alive_s=0.0)))
    assert sent.count(": still here\n\n") >= 2
