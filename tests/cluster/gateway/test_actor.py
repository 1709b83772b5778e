"""The gateway inside Ray: it comes back on its port with its key, and a board finishes its lease across the kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cluster.gateway.actor import GatewayClient, find_gateway, start_gateway, stop_gateway
from edge_agent.records import Artifact, stable_hash
from nas_service.errors import InvalidRequestError, NotFoundError
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus
from tests.cluster.gateway.processes import AgentProcess, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.ssh, pytest.mark.slow]


@pytest.fixture
def client(ray_cluster: None, tmp_path: Path) -> Iterator[GatewayClient]:
    yield GatewayClient(start_gateway(tmp_path / "nas"))
    stop_gateway()


def request_for(client: GatewayClient, model: bytes) -> MeasurementRequest:
    sha256 = client.store_artifact(model)
    return MeasurementRequest(
        structure_key=stable_hash("a"),
        board_class="x86",
        tier="probe",
        half="little",
        model=Artifact(sha256=sha256, size_bytes=len(model)),
    )


def test_second_start_finds_the_gateway_that_runs(client: GatewayClient, tmp_path: Path) -> None:
    again = GatewayClient(start_gateway(tmp_path / "nas"))
    assert again.status().port == client.status().port
    assert GatewayClient(find_gateway()).status() == client.status()


def test_without_a_gateway_the_message_says_how_to_start_one(ray_cluster: None) -> None:
    with pytest.raises(NotFoundError, match="nas up"):
        find_gateway()


def test_refusals_keep_their_class_and_text_across_processes(client: GatewayClient, model: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="unknown board class 'x86'"):
        client.request([request_for(client, model)])


def test_killed_gateway_comes_back_and_a_board_finishes_its_lease_across_the_kill(
    client: GatewayClient, agent_process: AgentProcess, model: bytes
) -> None:
    before = client.status()
    assert agent_process.enroll(before.port, client.enrol("pi-1", "x86")).returncode == 0
    agent_process.start()
    request = request_for(client, model)
    client.request([request])
    wait_for("measuring", lambda: any(b.heartbeat and b.heartbeat.state == "measuring" for b in client.boards()))
    old_pid = ray.get(find_gateway().pid.remote())
    os.kill(old_pid, signal.SIGKILL)
    killed_at = time.monotonic()
    after = client.status()
    back_s = time.monotonic() - killed_at
    print(f"gateway back after {back_s:.1f} s")
    assert (after.port, after.fingerprint) == (before.port, before.fingerprint)
    assert ray.get(find_gateway().pid.remote()) != old_pid

    def look() -> RequestState | None:
        state = client.poll([request.measurement_key])[request.measurement_key]
        return state if state.is_final else None

    state = wait_for("the answer", look, timeout_s=90)
    assert state.state is RequestStatus.DONE
    assert state.result is not None
    assert state.result.attempt == 1
