"""A Ray head node of our own on this machine: started, found again, and stopped without touching anybody else's.

`ray stop` ends every Ray on a machine; this one lives in a process group of its own and is ended as that. Ray's token
authentication stays on: the token lies in NAS_HOME, and every process of ours is given its path.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from nas_service.errors import NasError
from nas_service.home import Home

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 600 << 20
WORKER_PORTS = range(10002, 20000)  # Ray's own default


@dataclass(frozen=True, slots=True, kw_only=True)
class RayHead:
    """A running head node: its cluster's port, its job server, and the process group that it is."""

    pid: int
    port: int
    dashboard_url: str


def token_environment(home: Home) -> dict[str, str]:
    """Return the variables that let a process into the home's cluster.

    The token is the file that RAY_AUTH_TOKEN_PATH names, as where worker machines were given it beforehand; else the
    one in `home`, made if there is none.
    """
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else home.ray / "auth_token"
    if given and not path.exists():
        raise NasError(f"RAY_AUTH_TOKEN_PATH is {given!r}, which does not exist; write the token there, or unset it")
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_worker_niceness": "0",  # the API and the gateway are workers too, and boards wait for them
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # `nas down` has closed the API and the gateway by then
    }


def free_port(preferred: int | None = None, *, host: str = "127.0.0.1") -> int:
    """Return `preferred` if nothing listens there, else a port that nothing listens on now."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NasError("no free TCP port was found on this machine")


def start_ray(
    home: Home,
    *,
    cores: Sequence[int],
    num_cpus: int | None = None,
    port: int | None = None,
    autoscaling_config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> RayHead:
    """Return a head node that runs on `cores` only, its job server answering.

    Args:
        home: NAS_HOME.
        cores: The cores that its processes may run on.
        num_cpus: How many Ray counts; None means all of them.
        port: The cluster's TCP port, which worker machines join; None means any free one.
        autoscaling_config: What `ray up` wrote about the machines to start as workers; None means that there are none.
        environment: More variables for its processes.

    Raises:
        NasError: It did not come up; the message names its log.
    """
    if port in WORKER_PORTS:
        raise NasError(f"Ray's port is {port}, but its workers listen on 10002 to 19999; use another, such as 6379")
    if port is not None and free_port(port, host="0.0.0.0") != port:
        raise NasError(f"port {port} is taken on this machine; choose another for Ray with --ray-port")
    port, dashboard = port or free_port(), free_port()
    log = home.logs / "ray.log"
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        f"--port={port}",
        f"--num-cpus={num_cpus or len(cores)}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={session_folder(home)}",
    ]
    if autoscaling_config is not None:
        command.append(f"--autoscaling-config={autoscaling_config}")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **token_environment(home), **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    url = f"http://127.0.0.1:{dashboard}"
    try:
        _wait_until_up(process, url, log=log)
    except BaseException:  # also Ctrl-C: nobody else knows of these processes yet
        stop_ray(process.pid)
        raise
    return RayHead(pid=process.pid, port=port, dashboard_url=url)


def _wait_until_up(process: subprocess.Popen[bytes], url: str, *, log: Path) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise NasError(f"Ray did not start; the end of {log} says why:\n{_tail(log)}")
        time.sleep(0.2)


def session_folder(home: Home) -> Path:
    """Return where Ray keeps its sessions: its sockets' paths must stay short, so a long home is hashed."""
    sessions = home.ray / "s"  # Ray opens this folder to everybody; the one above it stays ours
    if len(str(sessions)) <= 42:
        return sessions
    return Path("/tmp") / f"nas-{os.getuid()}-{hashlib.sha256(str(home.root).encode()).hexdigest()[:10]}"


def stop_ray(pid: int, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the head's process group, politely first; return whether there was one."""
    if not group_alive(pid):
        return False
    give_up_at = time.monotonic() + timeout_s
    _signal_group(pid, signal.SIGTERM)
    while group_alive(pid) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    _signal_group(pid, signal.SIGKILL)
    give_up_at = time.monotonic() + KILL_TIMEOUT_S
    while group_alive(pid) and time.monotonic() < give_up_at:  # even a killed process takes a moment to go
        time.sleep(0.02)
    return True


def group_alive(pid: int) -> bool:
    """Return whether a process of the group is left that is not a zombie."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(_group_and_state(entry) == pid for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _group_and_state(entry: Path) -> int | None:
    """Return the process group of a live process, None for a zombie or one that just ended."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[2])


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
