"""What a board's agent takes while it has nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster.benchmarks.gateway import BOARD_CLASS, service
from cluster.benchmarks.row import Row
from cluster.gateway.host_key import ensure_host_key, public_line
from edge_agent.home import BoardConfig
from edge_agent.home import Home as BoardHome
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.store import Store

SETTLE_S = 8.0
IDLE_S = 30.0
CONNECT_TIMEOUT_S = 60.0


def idle() -> list[Row]:
    """E8: resident memory and CPU time of `nas-edge run`, connected to a gateway and idle."""
    with service(1) as (home, store, port, keys), tempfile.TemporaryDirectory() as scratch:
        board = _board_home(Path(scratch) / "board", home=home, port=port, keys=keys)
        with (Path(scratch) / "agent.log").open("wb") as log:
            agent = subprocess.Popen([sys.executable, "-m", "edge_agent", "run", "--home", str(board.root)], stderr=log)
        try:
            _wait_for_heartbeat(store, agent)
            time.sleep(SETTLE_S)
            begun, before_s = time.monotonic(), _cpu_s(agent.pid)
            time.sleep(IDLE_S)
            share = (_cpu_s(agent.pid) - before_s) / (time.monotonic() - begun)
            memory_mib = _resident_mib(agent.pid)
        finally:
            agent.terminate()
            try:
                agent.wait(timeout=30)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
    detail = f"connected to a gateway over SSH, no lease, {IDLE_S:g} s"
    return [
        Row(name="E8", figure="idle agent, resident MiB", value=memory_mib, must=60.0, aim=50.0, detail=detail),
        Row(name="E8", figure="idle agent, % of a core", value=100 * share, must=1.0, aim=0.5, detail=detail),
    ]


def _board_home(folder: Path, *, home: Home, port: int, keys: Path) -> BoardHome:
    """Return the home of the board that the gateway knows by the one key in `keys`."""
    [key] = keys.iterdir()
    board = BoardHome.at(folder)
    board.create()
    board.key_path.write_bytes(key.read_bytes())
    board.key_path.chmod(0o600)
    board.host_key_path.write_text(public_line(ensure_host_key(home.gateway / "host_key")))
    board.save_config(BoardConfig(host="127.0.0.1", port=port, board=key.name, board_class=BOARD_CLASS))
    return board


def _wait_for_heartbeat(store: Store, agent: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + CONNECT_TIMEOUT_S
    while all(board.last_seen is None for board in store.fleet.boards()):
        if agent.poll() is not None or time.monotonic() > give_up_at:
            raise NasError(f"the agent did not connect within {CONNECT_TIMEOUT_S:g} s; run `nas-edge doctor`")
        time.sleep(0.2)


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
