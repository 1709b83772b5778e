from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from nas_service.addresses import Addresses
from nas_service.commands.local import dead_parts
from nas_service.home import Home, ServiceState


def test_up_passes_its_options_and_prints_where_it_listens(nas, cluster, tmp_path):
    outcome = nas("up", "--gateway-bind", "0.0.0.0", "--gateway-port", "2200", "--reserve-cores", "1")
    name, options = cluster.calls[0]
    assert outcome.code == 0
    assert (name, options["home"]) == ("up", Home(tmp_path / "home"))
    assert options | {"home": None} == {
        "home": None, "addresses": Addresses(gateway_bind="0.0.0.0", gateway_port=2200), "autoscaling_config": None,
        "reserve_cores": 1,
    }  # fmt: skip
    assert outcome.out.splitlines() == ["dashboard  http://127.0.0.1:8700", "gateway    127.0.0.1:2222"]
    assert outcome.err.splitlines()[0] == "starting"
    assert str(tmp_path / "home" / "tokens" / "admin") in outcome.err


def test_up_in_the_foreground_fails_only_if_the_service_ended_by_itself(nas, cluster):
    assert nas("up", "--block").code == 0
    assert [name for name, _ in cluster.calls] == ["up", "hold"]
    cluster.ran = False
    assert nas("up", "--block").code == 1


def test_down_says_whether_anything_ran(nas, cluster):
    assert nas("down").err == ""
    cluster.ran = False
    assert "nothing was running" in nas("down").err


def test_demo_keeps_nothing_up_off_a_terminal_and_hands_on_its_exit_code(nas, cluster):
    cluster.code = 1
    assert nas("demo", "-o", "out").code == 1
    assert cluster.calls == [("demo", {"out": Path("out"), "keep": False})]


def test_status_tells_jobs_and_boards(here, search):
    outcome = here("status")
    assert outcome.code == 0
    assert "dashboard  http://127.0.0.1" in outcome.out
    assert "ready" in outcome.out
    assert json.loads(here("status", "--json").out)["jobs"]["finished"] >= 1


def test_status_of_a_service_that_is_gone_fails(nas, tmp_path, monkeypatch):
    Home(tmp_path / "home").write_state(ServiceState(api_url="http://127.0.0.1:9"))
    monkeypatch.setattr("nas_service.connection.RETRY_DELAYS_S", ())
    outcome = nas("status")
    assert outcome.code == 1
    assert "no answer from the service" in outcome.err


def test_dead_parts_are_those_without_a_process():
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    assert dead_parts(ServiceState(pids={"ray": os.getpid(), "gateway": gone})) == ["gateway"]


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_doctor_on_a_fresh_machine_has_warnings_but_no_problem(nas):
    outcome = nas("doctor", "--json")
    checks = {c["name"]: c for c in json.loads(outcome.out)["checks"]}
    assert outcome.code == 0
    assert checks["service"]["advice"] == "start it with `nas up`"
    assert checks["packages"]["verdict"] == "ok"


def test_doctor_names_a_taken_port_a_dead_service_and_what_to_do(nas, tmp_path, taken_port, monkeypatch):
    monkeypatch.setattr("nas_service.connection.RETRY_DELAYS_S", ())
    Home(tmp_path / "home").write_state(ServiceState(api_url="http://127.0.0.1:9", gateway_port=taken_port))
    outcome = nas("doctor")
    assert outcome.code == 1
    assert f"{taken_port} is taken by another program" in outcome.out
    assert "next: see the logs under NAS_HOME/logs" in outcome.out


def test_doctor_on_a_running_service_checks_token_gateway_and_boards(here, search):
    checks = {c["name"]: c for c in json.loads(here("doctor", "--json").out)["checks"]}
    assert checks["token"]["verdict"] == "ok"
    assert checks["gateway"]["verdict"] == "problem"
    assert "demo-board" in checks["boards"]["found"]


def test_doctor_survives_a_state_that_cannot_be_read(nas, tmp_path):
    home = Home(tmp_path / "home").create()
    home.state_file.write_text("{")
    outcome = nas("doctor")
    assert outcome.code == 1
    assert "holds no service state" in outcome.out
    assert "Traceback" not in outcome.err
