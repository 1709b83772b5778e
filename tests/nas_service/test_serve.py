"""The API under a real Ray Serve."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nas_service.errors import InvalidRequestError
from nas_service.home import Home
from nas_service.store import Store
from nas_service.store.tokens import Role

SPEC = """
kind: search
name: served
dataset: {name: digits}
space: {preset: micro}
supernet: {epochs: 1}
strategy: {name: random, evaluations: 2}
objectives: [error, macs]
"""
FACTORIES = {
    "launcher": "tests.nas_service.api.fakes:make_launcher",
    "fleet": "tests.nas_service.api.fakes:make_fleet",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_the_application_is_built_from_a_folder_and_import_strings(home: Home) -> None:
    from nas_service.serve import ApiConfig, build_app

    assert build_app(ApiConfig(home=str(home.root), **FACTORIES)).title == "biglittle-nas"
    assert home.store_file.exists()


@pytest.mark.parametrize(
    ("launcher", "text"),
    [
        ("no.such.module:f", r"'no.such.module:f' cannot be imported"),
        ("tests.nas_service.api.fakes:nothing", "cannot be imported"),
        ("tests.nas_service.api.fakes", "but must be package.module:function"),
    ],
)
def test_a_wrong_import_string_is_refused(home: Home, launcher: str, text: str) -> None:
    from nas_service.serve import ApiConfig, build_app

    with pytest.raises(InvalidRequestError, match=text):
        build_app(ApiConfig(home=str(home.root), launcher=launcher, fleet=FACTORIES["fleet"]))


@pytest.mark.parametrize(
    ("store_url", "files_url", "bound"),
    [
        (None, None, True),
        ("sqlite:////srv/nas.sqlite", "s3://bucket/nas", True),
        ("postgresql://nas@db/nas", None, True),
        ("postgresql://nas@db/nas", "/srv/files", True),
        ("postgresql://nas@db/nas", "s3://bucket/nas", False),
    ],
)
def test_replicas_stay_on_the_head_node_where_its_disk_is_needed(
    store_url: str | None, files_url: str | None, bound: bool
) -> None:
    from nas_service.serve import ApiConfig

    assert ApiConfig(home="/h", **FACTORIES, store_url=store_url, files_url=files_url).bound_to_head is bound


@pytest.fixture
def served(home: Home, ray_cluster: None) -> Iterator[tuple[str, Store, str]]:
    """The URL of a deployed API, its store, and a submitter's token."""
    from ray import serve

    from nas_service.serve import ApiConfig, deploy

    with Store.open(home) as store:
        token = store.tokens.create("test", Role.SUBMITTER)
        yield deploy(ApiConfig(home=str(home.root), **FACTORIES), host="127.0.0.1", port=free_port()), store, token
    serve.shutdown()


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.ray
@pytest.mark.slow
def test_serve_answers_streams_and_comes_back_after_a_kill(served: tuple[str, Store, str]) -> None:
    url, store, token = served
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        assert httpx.get(f"{url}/api/v1/jobs").status_code == 401
        answer = client.post("/api/v1/jobs", content=SPEC, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 201
        check_stream(client, store, answer.json()["id"])
        kill_replica()
        assert wait_for(client, "/api/v1/jobs").json()["jobs"][0]["name"] == "served"


@pytest.mark.ray
@pytest.mark.slow
def test_deploying_elsewhere_while_serve_runs_is_refused(
    served: tuple[str, Store, str], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_service.errors import ConflictError
    from nas_service.serve import ApiConfig, deploy

    monkeypatch.setattr("nas_service.serve._ANSWER_TIMEOUT_S", 1.0)

    with pytest.raises(ConflictError, match="Serve keeps the address that it was first started at"):
        deploy(ApiConfig(home=str(home.root), **FACTORIES), host="127.0.0.1", port=free_port())


def check_stream(client: httpx.Client, store: Store, job_id: str) -> None:
    """Events must arrive while the job goes on, not when it ends."""
    with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event: ")) == "event: state"
        store.jobs.append_event(job_id, "note", "while it is open")
        assert next(line for line in lines if line.startswith("event: ")) == "event: note"


def kill_replica() -> None:
    """Kill the replica's process, as a crash would."""
    import ray
    from ray.util import list_named_actors

    (replica,) = [a for a in list_named_actors(all_namespaces=True) if "SERVE_REPLICA::nas#api" in a["name"]]
    ray.kill(ray.get_actor(replica["name"], namespace=replica["namespace"]), no_restart=False)


def wait_for(client: httpx.Client, path: str) -> httpx.Response:
    """The first answer of 200 within a minute."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            answer = client.get(path)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 200:
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{path} did not answer within 60 s")
