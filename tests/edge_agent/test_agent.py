"""The loop end to end: a real agent process, real SSH on loopback, real models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from edge_agent.home import Home
from edge_agent.records import Artifact, Heartbeat
from edge_agent.spool import Spool
from tests.edge_agent.models import little_model
from tests.edge_agent.sftp_gateway import SftpGateway

pytestmark = [pytest.mark.ssh, pytest.mark.slow]

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


@pytest.mark.slow
def test_the_lowest_token_is_measured_first_and_nothing_twice(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    model = gateway.put_artifact(little_model())
    gateway.put_lease(model, lease_id="a-later", token=2)
    gateway.put_lease(model, lease_id="z-first", token=1)
    start_agent(enrolled)
    results = sorted(gateway.await_results(2), key=lambda r: r.finished_unix_s)
    assert [r.lease_id for r in results] == ["z-first", "a-later"]
    for result in results:
        gateway.acknowledge(result)
    gateway.put_lease(model, lease_id="z-first", token=1)
    gateway.put_lease(model, lease_id="z-first-again", token=3)
    (fresh,) = gateway.await_results(1)
    assert fresh.lease_id == "z-first-again"


def test_silence_is_announced_before_the_window_and_kept_during_it(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    gateway.put_lease(gateway.put_artifact(little_model()))
    start_agent(enrolled)
    beat, end = await_state(gateway, "measuring"), time.monotonic() + 20.0
    while beat.quiet_until_unix_s is None:  # the model is still being prepared
        assert time.monotonic() < end
        beat = await_state(gateway, "measuring")
    assert beat.lease_id == "l1"
    assert beat.quiet_until_unix_s > time.time()
    (result,) = gateway.await_results()
    last = Heartbeat.from_json((gateway.root / "pi" / "heartbeat.json").read_bytes())
    assert last.sent_unix_s == beat.sent_unix_s or last.sent_unix_s >= result.finished_unix_s


def test_the_next_leases_model_is_here_before_the_first_is_timed(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    gateway.put_lease(gateway.put_artifact(little_model()))
    coming = gateway.put_lease(gateway.put_artifact(little_model(size=16)), lease_id="l2", token=2)
    start_agent(enrolled)
    assert await_state(gateway, "measuring").lease_id == "l1"
    assert (enrolled.cache_path / coming.model.sha256).exists()


def test_a_killed_agent_measures_the_lease_again_after_its_restart(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    gateway.put_lease(gateway.put_artifact(little_model()))
    agent = start_agent(enrolled)
    first = await_state(gateway, "measuring")
    (child,) = children_of(agent.pid)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    await_dead(child)
    start_agent(enrolled)
    (result,) = gateway.await_results()
    assert result.status == "ok"
    assert result.incarnation != first.incarnation


@pytest.mark.slow
def test_a_killed_agent_sends_what_it_had_spooled_and_measures_nothing_twice(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    gateway.put_lease(gateway.put_artifact(little_model()))
    agent = start_agent(enrolled)
    (first,) = gateway.await_results()
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    (gateway.root / "pi" / "outbox" / f"{first.result_id}.json").unlink()
    start_agent(enrolled)
    (again,) = gateway.await_results()
    assert again == first
    time.sleep(0.5)
    assert len(gateway.results()) == 1


def test_a_killed_child_is_an_infra_fault_and_the_agent_goes_on(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    model = gateway.put_artifact(little_model())
    gateway.put_lease(model)
    agent = start_agent(enrolled)
    await_state(gateway, "measuring")
    (child,) = children_of(agent.pid)
    os.kill(child, signal.SIGKILL)
    (result,) = gateway.await_results()
    assert (result.status, result.fault) == ("agent_error", "infra")
    assert "SIGKILL" in (result.cause or "")
    gateway.acknowledge(result)
    gateway.put_lease(model, lease_id="l2", token=2)
    (second,) = gateway.await_results()
    assert second.status == "ok"


def test_a_lease_that_killed_the_agent_twice_is_answered_instead_of_tried(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    lease = gateway.put_lease(gateway.put_artifact(little_model()))
    spool = Spool(enrolled.spool_path)
    assert [spool.begin(lease), spool.begin(lease)] == [1, 2]
    start_agent(enrolled)
    (result,) = gateway.await_results()
    assert (result.status, result.fault) == ("agent_error", "unknown")
    assert "did not live to the end of this measurement 2 times" in (result.cause or "")


def test_an_absent_artefact_is_an_infra_fault(enrolled: Home, gateway: SftpGateway, start_agent: Start) -> None:
    gateway.put_lease(Artifact(sha256="c" * 64, size_bytes=10))
    start_agent(enrolled)
    (result,) = gateway.await_results()
    assert (result.status, result.fault) == ("agent_error", "infra")
    assert "is not on the gateway" in (result.cause or "")


@pytest.mark.slow
def test_leases_that_are_late_foreign_or_unreadable_are_left_alone(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    model = gateway.put_artifact(little_model())
    gateway.put_lease(model, lease_id="late", token=1, deadline_unix_s=time.time() - 1)
    inbox = gateway.root / "pi" / "inbox"
    (inbox / "lease-broken.json").write_text("{")
    foreign = gateway.put_lease(model, lease_id="foreign", token=2)
    (inbox / "lease-foreign.json").write_text(foreign.to_json().replace('"board":"pi"', '"board":"other"'))
    gateway.put_lease(model, lease_id="good", token=9)
    start_agent(enrolled)
    (result,) = gateway.await_results()
    assert result.lease_id == "good"


@pytest.mark.slow
def test_the_agent_comes_back_after_the_gateway_restarted(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    start_agent(enrolled)
    await_state(gateway, "idle")
    gateway.stop()
    gateway.start()
    gateway.put_lease(gateway.put_artifact(little_model()))
    (result,) = gateway.await_results()
    assert result.status == "ok"


def test_sigterm_stops_a_measuring_agent_at_once_and_leaves_no_child(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    gateway.put_lease(gateway.put_artifact(little_model()), tier="screen")
    agent = start_agent(enrolled)
    await_state(gateway, "measuring")
    (child,) = children_of(agent.pid)
    agent.terminate()
    assert agent.wait(timeout=5) == 0
    await_dead(child)
    assert await_state(gateway, "stopping").incarnation
    assert not list(enrolled.work_path.iterdir())
    (result,) = gateway.results()
    assert (result.status, result.fault) == ("agent_error", "infra")
    assert result.cause == "the agent was asked to stop while it measured"


def test_a_second_agent_in_the_same_home_is_refused(enrolled: Home, gateway: SftpGateway, start_agent: Start) -> None:
    agent = start_agent(enrolled)
    await_state(gateway, "idle")
    command = [sys.executable, "-m", "edge_agent", "run", "--home", str(enrolled.root)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert f"an agent (process {agent.pid}) already runs with {enrolled.root}; stop it, or give" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_server_with_another_host_key_ends_the_agent_without_a_retry(
    enrolled: Home, gateway: SftpGateway, start_agent: Start
) -> None:
    pinned = asyncssh.generate_private_key("ssh-ed25519")
    enrolled.host_key_path.write_bytes(pinned.export_public_key())
    command = [sys.executable, "-m", "edge_agent", "run", "--home", str(enrolled.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert gateway.key.get_fingerprint() in done.stderr
    assert pinned.get_fingerprint() in done.stderr
    assert "enrol this board again with a new code" in done.stderr
    assert gateway.logins == 0


def test_an_idle_agent_is_small_and_quiet(enrolled: Home, gateway: SftpGateway, start_agent: Start) -> None:
    agent = start_agent(enrolled)
    await_state(gateway, "idle")
    begin = cpu_s(agent.pid)
    time.sleep(2.0)
    assert resident_kib(agent.pid) <= 60 * 1024
    assert cpu_s(agent.pid) - begin <= 0.5  # this test's gateway asks for ten times the usual polling


def test_importing_the_agent_imports_neither_onnxruntime_nor_numpy() -> None:
    check = "import sys, edge_agent.agent; print([m for m in ('onnxruntime', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout.strip() == "[]"


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def await_dead(pid: int, *, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end, f"process {pid} lives on"
        time.sleep(0.02)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
