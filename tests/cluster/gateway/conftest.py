from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.gateway.gateway import Gateway
from nas_service.home import Home
from nas_service.store import Store
from tests.cluster.gateway.client import BoardKey, make_key
from tests.cluster.gateway.office import Office
from tests.cluster.gateway.processes import AgentProcess, GatewayProcess, Service
from tests.edge_agent.models import little_model


@pytest.fixture(scope="session")
def model() -> bytes:
    return little_model()


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "nas")
    yield process
    process.stop()


@pytest.fixture
def agent_process(tmp_path: Path) -> Iterator[AgentProcess]:
    process = AgentProcess(tmp_path / "board")
    yield process
    process.stop()


@pytest.fixture
def service(gateway_process: GatewayProcess) -> Iterator[Service]:
    service = Service(gateway_process.home)
    yield service
    service.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "nas").create()


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with Store.open(home) as store:
        yield store


@pytest.fixture
def gateway(home: Home, store: Store) -> Iterator[Gateway]:
    with Gateway(home, store) as gateway:
        yield gateway


@pytest.fixture
def board_key(gateway: Gateway, store: Store, tmp_path: Path) -> BoardKey:
    """The key of board `pi-1`, enrolled."""
    return enrolled(store, tmp_path, "pi-1")


def enrolled(store: Store, folder: Path, name: str) -> BoardKey:
    key = make_key(folder, name)
    token = store.fleet.create_enrolment(name, board_class="rpi5", ttl_s=60.0, now=time.time())
    store.fleet.redeem(token, public_key=key.line, fingerprint={"model": "pi"}, now=time.time())
    return key


@pytest.fixture
def office(store: Store, tmp_path: Path) -> Office:
    return Office(store, tmp_path / "gateway")
