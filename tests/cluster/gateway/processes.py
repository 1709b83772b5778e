"""Real gateway and agent processes for tests: started, killed without warning, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge_agent.records import Artifact, stable_hash
from nas_service.home import Home
from nas_service.measurement import MeasurementRequest, RequestState
from nas_service.store import Store

T = TypeVar("T")
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def wait_for(what: str, look: Callable[[], T | None], *, timeout_s: float = 30.0) -> T:
    """Return the first true value of `look`."""
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {timeout_s:g} s")


class GatewayProcess:
    """`python -m cluster.gateway` over one home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.fingerprint = ""
        self.codes: dict[str, str] = {}

    def start(self, *, enrol: tuple[str, ...] = ()) -> None:
        arguments = [sys.executable, "-m", "cluster.gateway", "--home", str(self.home)]
        for pair in enrol:
            arguments += ["--enrol", pair]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, env=_ENVIRONMENT)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        said = json.loads(line)
        self.port, self.fingerprint, self.codes = said["port"], said["fingerprint"], said["codes"]

    def kill(self) -> None:
        _end(self._process, signal.SIGKILL)

    def stop(self) -> None:
        _end(self._process, signal.SIGTERM)

    @property
    def mailbox(self) -> Path:
        return self.home / "gateway" / "boards"


class AgentProcess:
    """`nas-edge run` of one enrolled board."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def enroll(self, port: int, code: str) -> subprocess.CompletedProcess[str]:
        arguments = ["enroll", "--home", str(self.home), f"127.0.0.1:{port}", code]
        return subprocess.run(
            [sys.executable, "-m", "edge_agent", *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    def start(self) -> None:
        arguments = [sys.executable, "-m", "edge_agent", "run", "--home", str(self.home), "--local"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log, env=_ENVIRONMENT)

    def kill(self) -> None:
        _end(self._process, signal.SIGKILL)

    def stop(self) -> None:
        _end(self._process, signal.SIGTERM)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def exit_code(self, *, timeout_s: float = 60.0) -> int:
        assert self._process is not None
        return self._process.wait(timeout=timeout_s)


def _end(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(number)
    process.wait(timeout=30)
    if process.stdout is not None:
        process.stdout.close()


class Service:
    """What asks for measurements: the same store, from this process."""

    def __init__(self, home: Path) -> None:
        self.store = Store.open(Home(home).create())

    def close(self) -> None:
        self.store.close()

    def request(self, model: bytes, *, name: str, board_class: str, job_id: str | None = None) -> str:
        sha256 = self.store.files.put(model)
        wanted = MeasurementRequest(
            structure_key=stable_hash(name),
            board_class=board_class,
            tier="probe",
            half="little",
            model=Artifact(sha256=sha256, size_bytes=len(model)),
            job_id=job_id,
        )
        self.store.fleet.request([wanted], now=time.time())
        return wanted.measurement_key

    def state(self, key: str) -> RequestState:
        return self.store.fleet.states([key])[key]

    def wait_final(self, key: str, *, timeout_s: float = 60.0) -> RequestState:
        def look() -> RequestState | None:
            state = self.state(key)
            return state if state.is_final else None

        return wait_for(f"an answer to {key[:12]}", look, timeout_s=timeout_s)

    def agent_is(self, board: str, state: str) -> Callable[[], bool]:
        def look() -> bool:
            beat = self.store.fleet.board(board).heartbeat
            return beat is not None and beat.state == state

        return look
