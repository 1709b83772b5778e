"""A real agent, a real gateway, a real ONNX file, over SSH on loopback; and what a kill of either does to the count."""

from __future__ import annotations

import pytest

from nas_service.measurement import RequestStatus
from tests.cluster.gateway.processes import AgentProcess, GatewayProcess, Service, wait_for

pytestmark = [pytest.mark.ssh, pytest.mark.slow]


def bring_up(gateway: GatewayProcess, agent: AgentProcess) -> None:
    gateway.start(enrol=("pi-1:x86",))
    done = agent.enroll(gateway.port, gateway.codes["pi-1:x86"])
    assert done.returncode == 0, done.stderr
    agent.start()


def test_board_enrols_and_answers_a_request_with_latency_and_memory(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service, model: bytes
) -> None:
    bring_up(gateway_process, agent_process)
    state = service.wait_final(service.request(model, name="a", board_class="x86"))
    assert state.state is RequestStatus.DONE, state
    assert state.result is not None
    assert state.result.latency is not None
    assert state.result.latency.n >= 64
    assert state.result.memory is not None
    assert state.result.tier == "probe"


def test_result_is_counted_once_when_the_agent_is_killed_while_it_measures(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service, model: bytes
) -> None:
    bring_up(gateway_process, agent_process)
    key = service.request(model, name="a", board_class="x86")
    wait_for("measuring", service.agent_is("pi-1", "measuring"))
    agent_process.kill()
    agent_process.start()
    assert service.wait_final(key).state is RequestStatus.DONE
    assert len([m for m in service.store.fleet.measurements() if not m.late]) == 1


def test_measurement_survives_the_kill_of_the_gateway(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service, model: bytes
) -> None:
    bring_up(gateway_process, agent_process)
    before = (gateway_process.port, gateway_process.fingerprint)
    keys = [service.request(model, name=name, board_class="x86") for name in "abc"]
    wait_for("measuring", service.agent_is("pi-1", "measuring"))
    gateway_process.kill()
    gateway_process.start()
    assert (gateway_process.port, gateway_process.fingerprint) == before
    assert [service.wait_final(key, timeout_s=120).state for key in keys] == [RequestStatus.DONE] * 3
    assert len(service.store.fleet.measurements()) == 3


def test_other_requests_go_on_when_one_artefact_no_longer_matches_its_hash(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service, model: bytes
) -> None:
    gateway_process.start(enrol=("pi-1:x86",))
    bad = service.request(model + b"\x00", name="bad", board_class="x86")
    stored = next(p for p in service.store.files._root.rglob("*") if p.is_file() and p.stat().st_size == len(model) + 1)
    stored.write_bytes(b"\xff" + model)
    good = service.request(model, name="good", board_class="x86")
    assert agent_process.enroll(gateway_process.port, gateway_process.codes["pi-1:x86"]).returncode == 0
    agent_process.start()
    assert service.wait_final(good).state is RequestStatus.DONE
    failed = service.wait_final(bad)
    assert failed.state is RequestStatus.FAILED
    assert "export it again" in str(failed.cause)


def test_board_reports_a_damaged_copy_as_a_fault_of_the_infrastructure_and_the_retry_succeeds(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service, model: bytes
) -> None:
    bring_up(gateway_process, agent_process)
    wait_for("idle", service.agent_is("pi-1", "idle"))
    agent_process.pause()
    key = service.request(model, name="a", board_class="x86")
    copy = wait_for("the copy", lambda: next(iter((gateway_process.mailbox / "pi-1" / "artifacts").iterdir()), None))
    damaged = copy.with_name("damaged")
    damaged.write_bytes(b"\xff" + model[1:])
    damaged.replace(copy)
    agent_process.go_on()
    assert service.wait_final(key).state is RequestStatus.DONE
    results = [m.result for m in reversed(service.store.fleet.measurements())]
    assert [(r.status, r.fault) for r in results] == [("agent_error", "infra"), ("ok", None)]


def test_agent_whose_key_was_revoked_ends_with_a_message(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service
) -> None:
    gateway_process.start(enrol=("pi-1:x86",))
    assert agent_process.enroll(gateway_process.port, gateway_process.codes["pi-1:x86"]).returncode == 0
    service.store.fleet.remove("pi-1", now=0.0)
    agent_process.start()
    assert agent_process.exit_code() == 1
    assert "Traceback" not in agent_process.log.read_text()


def test_agent_refuses_a_gateway_with_another_host_key(
    gateway_process: GatewayProcess, agent_process: AgentProcess, service: Service
) -> None:
    gateway_process.start(enrol=("pi-1:x86",))
    assert agent_process.enroll(gateway_process.port, gateway_process.codes["pi-1:x86"]).returncode == 0
    gateway_process.kill()
    (gateway_process.home / "gateway" / "host_key").unlink()
    gateway_process.start()
    agent_process.start()
    assert agent_process.exit_code() == 1
    assert "shows host key" in agent_process.log.read_text()


def test_enrolment_with_a_wrong_code_is_refused(gateway_process: GatewayProcess, agent_process: AgentProcess) -> None:
    gateway_process.start()
    done = agent_process.enroll(gateway_process.port, f"nas1-{'a' * 32}-{gateway_process.fingerprint}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
