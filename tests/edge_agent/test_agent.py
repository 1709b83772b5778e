"""The loop end to end: a real agent process, real SSH on loopback, real models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.home import Home
from edge_agent.records import Heartbeat
from tests.edge_agent.models import little_model
from tests.edge_agent.sftp_gateway import SftpGateway

pytestmark = pytest.mark.ssh

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(home: Home) -> subprocess.Popen[bytes]:
        with (tmp_path / f"agent-{len(started)}.log").open("wb") as log:
            command = [sys.executable, "-m", "edge_agent", "run", "--home", str(home.root)]
            started.append(subprocess.Popen(command, stderr=log, stdout=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def await_state(gateway: SftpGateway, state: str, *, timeout_s: float = 20.0) -> Heartbeat:
    path, end = gateway.root / "pi" / "heartbeat.json", time.monotonic() + timeout_s
    while time.monotonic() < end:
        if path.exists() and (beat := Heartbeat.from_json(path.read_bytes())).state == state:
            return beat
        time.sleep(0.02)
    raise AssertionError(f"no heartbeat {state!r} within {timeout_s} s")


def await_gone(folder: Path, pattern: str, *, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while list(folder.glob(pattern)):
        assert time.monotonic() < end, f"{pattern} still in {folder}"
        time.sleep(0.02)


def test_an_agent_answers_a_lease_and_drops_its_copy_once_acknowledged(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    lease = gateway.put_lease(gateway.put_artifact(little_model()))
    start_agent(enrolled)
    (result,) = gateway.await_results()
    assert (result.status, result.cause, result.lease_id) == ("ok", None, lease.lease_id)
    assert result.latency is not None
    assert result.latency.n >= 64
    assert result.memory is not None
    assert list(enrolled.spool_path.glob("r-*.json"))
    gateway.acknowledge(result)
    await_gone(enrolled.spool_path, "r-*.json")
