"""A short campaign of the command that runs long ones: `python -m cluster.faults`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.faults.link import Wire
from tests.cluster.gateway.processes import wait_for

pytestmark = [pytest.mark.ssh, pytest.mark.slow]


def test_nothing_is_lost_and_nothing_counted_twice_under_random_faults(tmp_path: Path) -> None:
    words = ["--seed", "1", "--results", "40", "--boards", "2", "--keep", str(tmp_path / "campaign")]
    done = subprocess.run(
        [sys.executable, "-m", "cluster.faults", *words], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert (said["results"], said["lost"], said["counted_twice"], said["mixed_up"]) == (40, 0, 0, 0)
    assert said["faults"] >= 1


def test_cut_wire_ends_both_sides_and_a_dead_one_neither() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        wire = Wire(server.getsockname()[1])
        near = socket.create_connection(("127.0.0.1", wire.port), timeout=5)
        far, _ = server.accept()
        far.settimeout(0.3)
        near.sendall(b"a")
        assert far.recv(1) == b"a"
        wire.go_dead()
        near.sendall(b"b")
        with pytest.raises(TimeoutError):
            far.recv(1)
        wire.come_back()
        assert far.recv(1) == b"b"
        wait_for("a connection to cut", wire.cut)
        assert near.recv(1) == b""
        assert far.recv(1) == b""
        wire.close()
        near.close()
        far.close()
