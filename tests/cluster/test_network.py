"""Two boards as hosts of their own, in network namespaces; the cable of one is pulled while both work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_service.measurement import RequestStatus
from tests.cluster.gateway.processes import Service, wait_for

REQUESTS = 30
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def _missing() -> str | None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and ip (apt-get install iproute2) to make network namespaces"
    name = f"nas-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


pytestmark = [
    pytest.mark.ssh,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or _missing() is not None, reason=str(_missing())),
]


class Network:
    """A host for the gateway and one for each board, joined by a cable each."""

    def __init__(self, boards: tuple[str, ...]) -> None:
        self._prefix, self._boards = f"n{os.getpid()}", boards
        self._started: list[subprocess.Popen[str]] = []

    def build(self) -> None:
        for host in ("gw", *self._boards):
            self._ip("netns", "add", self.host(host))
            self._ip("-n", self.host(host), "link", "set", "lo", "up")
        for number, board in enumerate(self._boards):
            ends = {"gw": f"{self._prefix}g{number}", board: f"{self._prefix}b{number}"}
            self._ip("link", "add", ends["gw"], "type", "veth", "peer", "name", ends[board])
            for last, (host, end) in enumerate(ends.items(), start=1):
                self._ip("link", "set", end, "netns", self.host(host))
                self._ip("-n", self.host(host), "addr", "add", f"10.77.{number}.{last}/24", "dev", end)
                self._ip("-n", self.host(host), "link", "set", end, "up")

    def host(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def cable(self, board: str, state: str) -> None:
        self._ip("-n", self.host("gw"), "link", "set", f"{self._prefix}g{self._boards.index(board)}", state)

    def address(self, board: str) -> str:
        return f"10.77.{self._boards.index(board)}.1"

    def command(self, host: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.host(host), sys.executable, "-m", *words]

    def start(self, host: str, *words: str, log: Path) -> subprocess.Popen[str]:
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(host, *words), stdout=subprocess.PIPE, stderr=file, text=True, env=ENVIRONMENT
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for host in ("gw", *self._boards):
            subprocess.run(["ip", "netns", "del", self.host(host)], capture_output=True, check=False)

    @staticmethod
    def _ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network(("a", "b"))
    try:
        network.build()
        yield network
    finally:
        network.close()


def test_the_board_that_is_left_does_the_work_and_the_one_cut_off_comes_back(network: Network, tmp_path: Path) -> None:
    pairs = [word for board in "ab" for word in ("--enrol", f"{board}:x86")]
    gateway = network.start(
        "gw", "cluster.faults.broker", "--home", str(tmp_path / "nas"), "--bind", "0.0.0.0", *pairs,
        log=tmp_path / "gw.log",
    )  # fmt: skip
    assert gateway.stdout is not None
    said = json.loads(gateway.stdout.readline())
    service = Service(tmp_path / "nas")
    for board in "ab":
        address, home = f"{network.address(board)}:{said['port']}", tmp_path / board
        words = network.command(
            board, "edge_agent", "enroll", "--home", str(home), address, said["codes"][f"{board}:x86"]
        )
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        network.start(board, "cluster.faults.board", str(home), log=tmp_path / f"{board}.log")

    def ask(names: range) -> list[str]:
        return [service.request(b"onnx", name=str(name), board_class="x86") for name in names]

    def by(board: str) -> int:
        return sum(m.result.board == board for m in service.store.fleet.measurements())

    def all_done(keys: list[str]) -> bool:
        return all(state.state is RequestStatus.DONE for state in service.store.fleet.states(keys).values())

    keys = ask(range(REQUESTS))
    wait_for("work by both", lambda: by("a") > 2 and by("b") > 2, timeout_s=60)
    network.cable("a", "down")
    keys += ask(range(REQUESTS, REQUESTS + 10))
    wait_for("all answers, from the board that is left", lambda: all_done(keys), timeout_s=90)
    network.cable("a", "up")
    before = by("a")
    seen = time.time()
    wait_for("the other to be heard", lambda: (service.store.fleet.board("a").last_seen or 0.0) > seen, timeout_s=90)
    keys += ask(range(REQUESTS + 10, REQUESTS + 30))
    wait_for("its next answer", lambda: by("a") > before and all_done(keys), timeout_s=90)
    counted = [m.result.measurement_key for m in service.store.fleet.measurements() if not m.late]
    assert sorted(key for key in counted if key in keys) == sorted(keys)  # the others are twins
    assert len(set(counted)) == len(counted)
    service.close()
