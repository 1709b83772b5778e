"""A whole service on this machine for tests: Ray, API, gateway and one real board; its processes can be killed.

The test process never joins the service's Ray cluster: it asks over HTTP, looks into the store, and finds processes
in /proc.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local import board_cores, down, up
from cluster.local_board import enrol_local_board, start_local_board
from cluster.ray_head import stop_ray
from nas_service.candidate import CandidateStatus
from nas_service.client import Client
from nas_service.errors import ConflictError
from nas_service.home import Home, ServiceState
from nas_service.store import Store
from tests.cluster.gateway.processes import wait_for

BOARD, BOARD_CLASS = "desk", "local"
RESERVED_CORES = 1


@dataclass
class LiveService:
    """What tests need of a running service."""

    home: Home
    state: ServiceState
    client: Client
    store: Store
    board_home: Path
    board_pid: int = -1

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NAS_HOME": str(self.home.root), "OMP_NUM_THREADS": "1"}

    def nas(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `nas` against this service."""
        return _run("nas_service", *arguments, environment=self.environment())

    def nas_edge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run("edge_agent", *arguments, environment=self.environment())

    def start_board(self) -> None:
        cores = board_cores(sorted(os.sched_getaffinity(0)), RESERVED_CORES)
        self.board_pid = start_local_board(self.board_home, cores=cores, log=self.home.logs / "board.log")

    def kill_board(self) -> None:
        os.kill(self.board_pid, signal.SIGKILL)
        os.waitpid(self.board_pid, 0)  # it is a child of this process

    def board_measures(self) -> bool:
        """Whether the agent has a measuring child just now."""
        return any(_parent(pid) == self.board_pid for pid, _ in processes())

    def driver_pid(self, job_id: str) -> int | None:
        for pid, words in processes():
            if words[1:4] == ["-m", "cluster.driver", job_id]:
                return pid
        return None

    def gateway_pid(self) -> int | None:
        """The actor's process: of this cluster, by the token that it was born with."""
        token = f"RAY_AUTH_TOKEN_PATH={self.home.ray / 'auth_token'}".encode()
        for pid, words in processes():
            if words[0].startswith("ray::GatewayActor") and token in _environment(pid):
                return pid
        return None

    def kill_driver(self, job_id: str) -> None:
        pid = wait_for("a driver", lambda: self.driver_pid(job_id))
        os.kill(pid, signal.SIGKILL)
        wait_for("the driver's end", lambda: self.driver_pid(job_id) != pid)

    def resume(self, job_id: str) -> None:
        """`nas resume`, as soon as the cluster knows that the driver is gone."""

        def ask() -> bool:
            try:
                self.client.resume(job_id)
            except ConflictError:
                return False
            return True

        wait_for("the resume", ask, timeout_s=60)

    def told(self, job_id: str) -> int:
        counts = self.store.candidates.count(job_id)
        return counts[CandidateStatus.FINISHED] + counts[CandidateStatus.FAILED]

    def events(self, job_id: str, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.store.jobs.events(job_id) if event.kind == kind]

    def wait(self, what: str, job_id: str, look: Callable[[], Any], *, timeout_s: float = 150.0) -> Any:
        """Wait for something while the job runs; a job that ends before it is told with its log."""

        def careful() -> Any:
            found = look()
            job = self.store.jobs.get(job_id)
            assert found or not job.state.over, f"no {what}: {job.state.value}: {job.message}"
            return found

        return wait_for(what, careful, timeout_s=timeout_s)

    def ended(self, job_id: str, *, timeout_s: float = 180.0) -> dict[str, Any]:
        """Wait until a job is over and return it."""

        wait_for("the job's end", lambda: self.store.jobs.get(job_id).state.over, timeout_s=timeout_s)
        return self.client.job(job_id)


@contextmanager
def running_service(root: Path) -> Iterator[LiveService]:
    """Bring a service up under `root` with one board that works, and take everything down at the end."""
    home = Home(root)
    state = up(home, reserve_cores=RESERVED_CORES)
    board = root / "board"
    try:
        with Client(state.api_url or "", home.read_admin_token()) as client, Store.open(home) as store:
            code = client.add_board(BOARD, board_class=BOARD_CLASS)["code"]
            enrol_local_board(board, address=f"{state.gateway_host}:{state.gateway_port}", code=code)
            live = LiveService(home=home, state=state, client=client, store=store, board_home=board)
            live.start_board()
            try:
                wait_for("a word of the board", lambda: store.fleet.board(BOARD).heartbeat, timeout_s=60)
                yield live
            finally:
                stop_ray(live.board_pid)  # ends the process group that the agent is
    finally:
        down(home)


def processes() -> Iterator[tuple[int, list[str]]]:
    """Every process of this machine with its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it ended just now
            if words != [""]:
                yield int(entry.name), words


def _parent(pid: int) -> int | None:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _environment(pid: int) -> bytes:
    try:
        return (Path("/proc") / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def _run(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
