from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.home import BoardConfig, Home
from edge_agent.identity import ensure_key
from tests.edge_agent.models import little_model
from tests.edge_agent.sftp_gateway import SftpGateway


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "little.onnx"
    path.write_bytes(little_model())
    return path


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[SftpGateway]:
    with SftpGateway(tmp_path / "gateway") as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def enrolled(home: Home, gateway: SftpGateway) -> Home:
    """A home that the gateway knows as board `pi`."""
    gateway.add_board("pi", ensure_key(home, comment="pi"))
    home.host_key_path.write_text(gateway.host_key_line + "\n")
    home.save_config(BoardConfig(host="127.0.0.1", port=gateway.port, board="pi", board_class="x86"))
    return home


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
