from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
