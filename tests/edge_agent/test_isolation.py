"""What runs a model reaches nobody, by a namespace or by a filter, and the record says which."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.isolation import NONE
from edge_agent.measuring import measure_file
from edge_agent.records import RuntimeSettings
from tests.edge_agent.models import little_model

ROOT = Path(__file__).parents[2]
REFUSALS = {errno.ENETUNREACH, errno.EACCES, errno.EPERM}

# Prints what cutting said, then what connecting gave: an errno, or 0
PROGRAM = """
import socket, sys
from edge_agent import isolation
try:
    print(getattr(isolation, sys.argv[1])())
except OSError as error:
    sys.exit(f"{error.strerror}")
def reach():
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(("127.0.0.1", int(sys.argv[2])))
try:
    print(reach())
except OSError as error:
    print(error.errno)
socket.socketpair()
import os, pathlib
pathlib.Path(sys.argv[3]).write_text(str(os.geteuid()))
"""

# Stands in for onnxruntime, so that what a model's code could do is done by the measuring child itself
TALKATIVE_RUNTIME = """
import os, pathlib, socket
try:
    with socket.socket() as client:
        client.settimeout(2)
        outcome = client.connect_ex(("127.0.0.1", int(os.environ["LISTENER_PORT"])))
except OSError as error:
    outcome = error.errno
pathlib.Path(os.environ["OUTCOME"]).write_text(str(outcome))
raise ImportError("no real runtime")
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        yield server


def port_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def isolated(function: str, listener: socket.socket, folder: Path) -> list[str]:
    """Return what a process printed that calls `function` and then connects; skip where the kernel forbids it."""
    command = [sys.executable, "-c", PROGRAM, function, port_of(listener), str(folder / "written")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip(f"{function}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split("\n")[:2]


@pytest.mark.parametrize("function", ["enter_empty_namespace", "refuse_sockets", "cut_network"])
def test_a_process_without_network_reaches_no_listener_and_still_writes_its_files(
    function: str, listener: socket.socket, tmp_path: Path
) -> None:
    said, outcome = isolated(function, listener, tmp_path)
    if said.startswith(NONE):
        pytest.skip(said)
    assert int(outcome) in REFUSALS
    with pytest.raises(TimeoutError):
        listener.accept()
    assert (tmp_path / "written").read_text() == str(os.geteuid())


def test_where_both_ways_are_forbidden_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    from edge_agent import isolation

    monkeypatch.setattr(isolation, "enter_empty_namespace", forbidden)
    monkeypatch.setattr(isolation, "refuse_sockets", forbidden)
    assert isolation.cut_network() == "none (namespace: Operation not permitted, filter: Operation not permitted)"


def test_nothing_in_a_measuring_child_reaches_a_listener(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(TALKATIVE_RUNTIME)
    (tmp_path / "model.onnx").write_bytes(little_model())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LISTENER_PORT", port_of(listener))
    monkeypatch.setenv("OUTCOME", str(tmp_path / "outcome"))
    measured = measure_file(tmp_path / "model.onnx", tier="probe", settings=RuntimeSettings(), work=tmp_path)
    assert "no real runtime" in (measured.verdict.cause or "")
    if isolated("cut_network", listener, tmp_path)[0].startswith(NONE):
        pytest.skip("this kernel lets no process give up its network")
    assert int((tmp_path / "outcome").read_text()) in REFUSALS


def test_the_record_says_how_the_network_was_taken_away(
    model_path: Path, listener: socket.socket, tmp_path: Path
) -> None:
    measured = measure_file(model_path, tier="probe", settings=RuntimeSettings(), work=tmp_path)
    assert measured.runtime["network_cut"] == isolated("cut_network", listener, tmp_path)[0]
