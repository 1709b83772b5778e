"""A Ray head of our own: where it keeps its sockets, which port it takes, and that nothing of it is left behind."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import ray_head
from cluster.local import board_cores, ray_cores
from nas_service.errors import NasError
from nas_service.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def group() -> subprocess.Popen[bytes]:
    """A process group of two processes, the first of which ignores a polite request."""
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('up', flush=True);"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_whole_group_ends_though_a_member_ignores_the_polite_request():
    with group() as process:
        assert ray_head.group_alive(process.pid)
        assert ray_head.stop_ray(process.pid, timeout_s=0.5) is True
        process.wait(timeout=10)
        assert not ray_head.group_alive(process.pid)
        assert ray_head.stop_ray(process.pid) is False


def test_a_head_that_dies_while_it_starts_is_explained_by_its_log(home, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NasError, match=r"Ray did not start; the end of .*ray\.log says why"):
        ray_head.start_ray(home, cores=[0])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, NasError])
def test_a_start_that_is_interrupted_leaves_no_process(home, monkeypatch, interruption):
    started = []

    def interrupted(process: subprocess.Popen[bytes], url: str, *, log: Path) -> None:
        started.append(process.pid)
        raise interruption("now")

    monkeypatch.setattr(ray_head, "_wait_until_up", interrupted)
    with pytest.raises(interruption):
        ray_head.start_ray(home, cores=[0])
    assert not ray_head.group_alive(started[0])


def test_a_free_port_is_the_preferred_one_unless_somebody_listens_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ray_head.free_port(port) != port
    assert ray_head.free_port(port) == port


def test_the_token_is_made_once_and_is_private(home):
    first = ray_head.token_environment(home)
    path = Path(first["RAY_AUTH_TOKEN_PATH"])
    token = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (ray_head.token_environment(home), path.read_text()) == (first, token)


def test_sockets_of_a_deep_home_lie_in_a_short_folder(tmp_path):
    deep = Home(tmp_path / ("d" * 60))
    assert len(str(ray_head.session_folder(deep))) <= 40
    assert ray_head.session_folder(Home(Path("/srv/nas"))) == Path("/srv/nas/ray/s")


@pytest.mark.parametrize(
    ("available", "reserve", "ray", "board"),
    [([0, 1], 1, [0], [1]), ([0, 1, 2, 3], 1, [0, 1, 2], [3]), ([3], 1, [3], [3]), ([0, 1], 0, [0, 1], [0, 1])],
)
def test_a_local_board_gets_cores_of_its_own_where_there_are_two(available, reserve, ray, board):
    assert (ray_cores(available, reserve), board_cores(available, reserve)) == (ray, board)
