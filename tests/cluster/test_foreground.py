"""`nas up --block` with a stand-in for Ray: a process in a group of its own, which is all that `hold` looks at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local import cpu_quota
from cluster.ray_head import group_alive, start_ray, token_environment
from nas_service.errors import NasError
from nas_service.home import Home

PROGRAM = """
import subprocess, sys
from pathlib import Path
from cluster.foreground import hold
from nas_service.home import Home, ServiceState

home = Home(Path(sys.argv[1])).create()

def start():
    ray = subprocess.Popen(["sleep", sys.argv[2]], start_new_session=True)
    home.write_state(ServiceState(pids={"ray": ray.pid}))
    print(ray.pid, flush=True)

sys.exit(0 if hold(home, start=start, report=print) else 1)
"""


def service(home: Path, *, ray_lives_s: float) -> tuple[subprocess.Popen[str], int]:
    """Return the process in the foreground and the process group of its Ray."""
    command = [sys.executable, "-c", PROGRAM, str(home), str(ray_lives_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_counts_as_success(tmp_path, number):
    process, ray = service(tmp_path / "home", ray_lives_s=600)
    assert group_alive(ray)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "the service is down\n")
    assert not group_alive(ray)
    assert Home(tmp_path / "home").read_state() is None


def test_a_ray_that_ends_by_itself_counts_as_failure_so_that_supervisors_start_it_again(tmp_path):
    process, _ = service(tmp_path / "home", ray_lives_s=0.2)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Ray has ended by itself" in out
    assert Home(tmp_path / "home").read_state() is None


@pytest.mark.parametrize(("text", "cores"), [("400000 100000\n", 4), ("50000 100000", 1), ("max 100000", None)])
def test_a_containers_limit_counts_as_whole_cores(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path / "cpu.max") == cores
    assert cpu_quota(tmp_path / "missing") is None


def test_a_token_that_was_given_beforehand_is_the_clusters(tmp_path, monkeypatch):
    given = tmp_path / "ray_token"
    given.write_text("ab" * 32)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(given))
    assert token_environment(Home(tmp_path / "home"))["RAY_AUTH_TOKEN_PATH"] == str(given)
    assert not (tmp_path / "home").exists()


def test_a_token_that_was_named_but_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))
    with pytest.raises(NasError, match="which does not exist; write the token there, or unset it"):
        token_environment(Home(tmp_path / "home"))


def test_without_one_the_home_makes_a_token_that_only_its_owner_reads(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    path = Path(token_environment(Home(tmp_path / "home"))["RAY_AUTH_TOKEN_PATH"])
    assert (len(path.read_text()), os.stat(path).st_mode & 0o777) == (64, 0o600)


def test_rays_port_may_not_be_one_of_its_workers(tmp_path):
    with pytest.raises(NasError, match="workers listen on 10002 to 19999; use another, such as 6379"):
        start_ray(Home(tmp_path / "home").create(), cores=[0], port=12345)


def test_rays_port_must_be_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(NasError, match="is taken on this machine"):
        start_ray(Home(tmp_path / "home").create(), cores=[0], port=taken.getsockname()[1])
